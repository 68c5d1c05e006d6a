import type { PathInfo } from '../../model/nix/path-info.ts'
import { equalBytes, hex } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { PathInfoService } from './interface.ts'

/**
 * Makes sure that an answer of `base` is about the path that was asked for; anything else is `corrupt`. What the
 * path info says of that path is for signatures to prove, not for this layer. `source` names the base in messages.
 */
export function verifyingPathInfoService(base: PathInfoService, source: string): PathInfoService {
  return new VerifyingPathInfoService(base, source)
}

class VerifyingPathInfoService implements PathInfoService {
  readonly #base: PathInfoService
  readonly #source: string

  constructor(base: PathInfoService, source: string) {
    this.#base = base
    this.#source = source
  }

  async get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    const found = await this.#base.get(outputHash, call)
    if (found && !equalBytes(found.storePath.digest, outputHash))
      throw this.#wrong(`asked for the path info of ${hex(outputHash)}`, found)
    return found
  }

  async put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
    const stored = await this.#base.put(pathInfo, call)
    if (!equalBytes(stored.storePath.digest, pathInfo.storePath.digest))
      throw this.#wrong(`stored the path info of ${pathInfo.storePath}`, stored)
    return stored
  }

  list(call?: Call): AsyncIterable<PathInfo> {
    return this.#base.list(call)
  }

  #wrong(what: string, answer: PathInfo): StoreError {
    return new StoreError('corrupt', `${this.#source}: ${what}, but got that of ${answer.storePath}`)
  }
}
