import { fingerprint } from '../../model/nix/fingerprint.ts'
import type { NarInfo } from '../../model/nix/narinfo.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import type { VerifyingKey } from '../../model/nix/signing-key.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import type { PathInfoService } from './interface.ts'

export interface SignatureChecking {
  readonly keys: readonly VerifyingKey[]
  /** Distinct key names that must have signed; 1 unless given. */
  readonly minSignatures?: number
  /**
   * Recomputes the content address of a path that claims one, from its contents, and throws when it is another.
   * Such paths need no signature then; without this function they need one like all others.
   */
  readonly checkContentAddress?: (pathInfo: PathInfo, call: Call | undefined) => Promise<void>
  readonly logger?: Logger
}

/**
 * Shows only path infos that a trusted key signed: `get` of another is `corrupt`, a listing passes over it, and a
 * put of one is `denied`. `source` names the base in messages.
 *
 * The signature covers the NAR's hash and not our root node; that the node renders to that NAR is for those to make
 * sure who ingest or render it.
 */
export function signatureCheckingPathInfoService(
  base: PathInfoService,
  source: string,
  options: SignatureChecking,
): PathInfoService {
  return new SignatureCheckingPathInfoService(base, source, options)
}

class SignatureCheckingPathInfoService implements PathInfoService {
  readonly #base: PathInfoService
  readonly #source: string
  readonly #options: SignatureChecking
  readonly #logger: Logger

  constructor(base: PathInfoService, source: string, options: SignatureChecking) {
    this.#base = base
    this.#source = source
    this.#options = options
    this.#logger = options.logger ?? silentLogger
  }

  async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    const found = await this.#base.get(outputHash, call)
    const distrust = found && (await this.#distrust(found, call))
    if (distrust) throw new StoreError('corrupt', `${this.#source}: ${distrust}`)
    return found
  }

  async put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
    const distrust = await this.#distrust(pathInfo, call)
    if (distrust) throw new StoreError('denied', `${this.#source}: ${distrust}`)
    return await this.#base.put(pathInfo, call)
  }

  async *list(call?: Call): AsyncGenerator<PathInfo> {
    for await (const pathInfo of this.#base.list(call)) {
      const distrust = await this.#distrust(pathInfo, call)
      if (!distrust) yield pathInfo
      else this.#logger.debug({ source: this.#source }, distrust)
    }
  }

  async #distrust(pathInfo: PathInfo, call: Call | undefined): Promise<string | undefined> {
    const { keys, minSignatures, checkContentAddress } = this.#options
    const distrust = whyUntrusted(pathInfo, keys, minSignatures)
    if (!distrust || !pathInfo.ca || !checkContentAddress) return distrust
    try {
      await checkContentAddress(pathInfo, call)
      return undefined
    } catch (error) {
      if (StoreError.from(error).code !== 'corrupt') throw error
      return `${distrust}, and ${StoreError.from(error).message}`
    }
  }
}

/** Why a path is not to be believed, as a sentence; `undefined` when enough of the keys signed it. */
export function whyUntrusted(
  path: PathInfo | NarInfo,
  keys: readonly VerifyingKey[],
  minSignatures = 1,
): string | undefined {
  const names = new Set(validSignatures(path, keys))
  if (names.size >= minSignatures) return undefined
  const wanted =
    minSignatures === 1 ? 'no valid signature' : `${names.size} of ${minSignatures} valid signatures`
  return `${path.storePath} has ${wanted} of a trusted key: ${signers(path)}; trusted are ${listOf(keys.map(({ name }) => name))}`
}

function* validSignatures(path: PathInfo | NarInfo, keys: readonly VerifyingKey[]): Generator<string> {
  const text = fingerprint(path)
  for (const key of keys) if (path.signatures.some((signature) => key.verify(text, signature))) yield key.name
}

function signers({ signatures }: PathInfo | NarInfo): string {
  return signatures.length === 0
    ? 'it is not signed'
    : `it says to be signed by ${listOf(signatures.map(({ keyName }) => keyName))}`
}

/** Names come from strangers, in any number. */
function listOf(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ')
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown || 'none'
}
