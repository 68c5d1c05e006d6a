import { describe, expect, it } from 'vitest'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { httpClient } from '../../src/services/http-client.ts'
import { nixHttpPathInfoService, type Substitution } from '../../src/services/pathinfos/nix-http.ts'
import { type NixHttpAddress, parseNixHttpAddress } from '../../src/services/pathinfos/nix-http-address.ts'
import { checkPathInfo } from '../../src/transfer/check-path-info.ts'
import { ingestNar } from '../../src/transfer/ingest-nar.ts'
import { type OpenSubstituter, type Substituter, substitutionCases } from './substitution.ts'
import { brokenCases, nothingToClean, runCases } from './suite.ts'

interface Flaws {
  readonly check?: Substitution['check']
  readonly address?: (address: NixHttpAddress) => NixHttpAddress
  readonly wrap?: (substituter: Substituter) => Substituter
}

function opening({ check, address = (same) => same, wrap = (same) => same }: Flaws): OpenSubstituter {
  return (addresses, { policy, ...options } = {}) => {
    const castore = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const client = httpClient({ retryMs: [1, 1], ...policy })
    const kept: string[] = []
    const pathInfos = nixHttpPathInfoService({
      client,
      caches: addresses.map(parseNixHttpAddress).map(address),
      substitution: {
        ingest: (nar, ingestOptions) => ingestNar(castore, nar, ingestOptions),
        check: check ?? ((pathInfo, ingested, call) => checkPathInfo(castore, pathInfo, ingested, call)),
        async keep({ storePath }) {
          kept.push(storePath.toString())
        },
      },
      ...options,
    })
    return wrap({
      pathInfos,
      castore,
      kept,
      async [Symbol.asyncDispose]() {
        await pathInfos[Symbol.asyncDispose]()
        client[Symbol.dispose]()
      },
    })
  }
}

runCases(
  'substitution',
  substitutionCases,
  nothingToClean(() => opening({})),
)

describe('the suite of substitution fails', () => {
  const broken: Record<string, Flaws> = {
    'one that does not compare the hash of the NAR': { check: async () => {} },
    'one that checks no signatures': { address: (address) => ({ ...address, trustedKeys: undefined }) },
    'one that takes failures for absence': {
      wrap: (sound) => ({
        ...sound,
        [Symbol.asyncDispose]: () => sound[Symbol.asyncDispose](),
        pathInfos: {
          ...sound.pathInfos,
          get: (hash, call) => sound.pathInfos.get(hash, call).catch(() => undefined),
        },
      }),
    },
  }
  for (const [name, flaws] of Object.entries(broken))
    it(name, async () => {
      const make = nothingToClean(() => opening(flaws))
      expect(await brokenCases(substitutionCases, make, 20_000)).not.toEqual([])
    })
})
