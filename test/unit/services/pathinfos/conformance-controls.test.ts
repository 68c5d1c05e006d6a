import { describe, expect, it } from 'vitest'
import type { PathInfo } from '../../../../src/model/nix/path-info.ts'
import type { PathInfoService } from '../../../../src/services/pathinfos/interface.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import type { Call } from '../../../../src/support/call.ts'
import { pathInfoServiceCases, secondPutCases } from '../../../conformance/path-info-service.ts'
import { brokenCases, nothingToClean } from '../../../conformance/suite.ts'

const CASES = [...pathInfoServiceCases, ...secondPutCases.last]

class Delegating implements PathInfoService {
  readonly base = memoryPathInfoService()
  get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
    return this.base.get(outputHash, call)
  }
  put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
    return this.base.put(pathInfo, call)
  }
  list(call?: Call): AsyncIterable<PathInfo> {
    return this.base.list(call)
  }
}

class KeepsTheFirst extends Delegating {
  override async put(pathInfo: PathInfo, call?: Call) {
    return (await this.base.get(pathInfo.storePath.digest, call)) ?? this.base.put(pathInfo, call)
  }
}

class DropsSignatures extends Delegating {
  override async put(pathInfo: PathInfo, call?: Call) {
    await this.base.put({ ...pathInfo, signatures: [] }, call)
    return pathInfo
  }
}

class ListsOnePage extends Delegating {
  override async *list(call?: Call): AsyncGenerator<PathInfo> {
    let count = 0
    for await (const pathInfo of this.base.list(call)) if (count++ < 256) yield pathInfo
  }
}

class IgnoresSignals extends Delegating {
  override get = (outputHash: Uint8Array) => this.base.get(outputHash)
  override put = (pathInfo: PathInfo) => this.base.put(pathInfo)
  override list = () => this.base.list()
}

class MatchesPrefixes extends Delegating {
  readonly stored: PathInfo[] = []
  override async put(pathInfo: PathInfo, call?: Call) {
    this.stored.push(pathInfo)
    return this.base.put(pathInfo, call)
  }
  override async get(outputHash: Uint8Array, call?: Call) {
    const exact = await this.base.get(outputHash, call)
    return exact ?? this.stored.find(({ storePath }) => storePath.digest[0] === outputHash[0])
  }
}

describe('the conformance suite of path infos fails', () => {
  const broken: Record<string, new () => PathInfoService> = {
    'one that keeps the first of two': KeepsTheFirst,
    'one that drops signatures': DropsSignatures,
    'one that lists a page only': ListsOnePage,
    'one that ignores signals': IgnoresSignals,
    'one that compares a part of the hash': MatchesPrefixes,
  }
  for (const [name, make] of Object.entries(broken))
    it(name, async () => {
      const failures = await brokenCases(
        CASES,
        nothingToClean(() => new make()),
      )
      expect(failures).not.toEqual([])
      expect(failures.length).toBeLessThan(CASES.length)
    })

  it('and passes the sound one', async () => {
    const make = nothingToClean(() => new Delegating())
    expect(await brokenCases(CASES, make, 20_000)).toEqual([])
  })
})
