import { fingerprint } from '../../model/nix/fingerprint.ts'
import type { NarInfo } from '../../model/nix/narinfo.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import type { VerifyingKey } from '../../model/nix/signing-key.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { type Logger, silentLogger } from '../../support/log.ts'
import type { ContentAddressProofs } from './content-address-proofs.ts'
import type { PathInfoService } from './interface.ts'

export interface SignatureChecking {
  readonly keys: readonly VerifyingKey[]
  /** Distinct key names that must have signed; 1 unless given. */
  readonly minSignatures?: number
  /**
   * Proves paths that claim to be content-addressed by reading their contents. They need no signature then; without
   * this they need one like all others.
   */
  readonly contentAddresses?: Pick<ContentAddressProofs, 'check' | 'has'>
  readonly logger?: Logger
}

/**
 * Shows only path infos that a trusted key signed: `get` of another is `corrupt`, a listing passes over it, and a
 * put of one is `denied`. `source` names the base in messages. A listing also passes over what only its contents could
 * prove, unless somebody asked for it before: it would read everything there is.
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
      const distrust = this.#isProven(pathInfo) ? undefined : this.#unsigned(pathInfo)
      if (!distrust) yield pathInfo
      else this.#logger.debug({ source: this.#source }, distrust)
    }
  }

  #unsigned(pathInfo: PathInfo): string | undefined {
    return whyUntrusted(pathInfo, this.#options.keys, this.#options.minSignatures)
  }

  #isProven(pathInfo: PathInfo): boolean {
    return pathInfo.ca !== undefined && (this.#options.contentAddresses?.has(pathInfo) ?? false)
  }

  async #distrust(pathInfo: PathInfo, call: Call | undefined): Promise<string | undefined> {
    const { contentAddresses } = this.#options
    const distrust = this.#unsigned(pathInfo)
    if (!distrust || !pathInfo.ca || !contentAddresses) return distrust
    try {
      await contentAddresses.check(pathInfo, call)
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
