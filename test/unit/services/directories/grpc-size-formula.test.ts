import { expect, test } from 'vitest'
import { Directory, type SizeFormula } from '../../../../src/model/castore/directory.ts'
import { directoryRpc } from '../../../../src/model/wire/services.ts'
import { openStores } from '../../../../src/services/composition/open-stores.ts'
import { askSizeFormula } from '../../../../src/services/directories/grpc-size-formula.ts'
import { openGrpcChannel } from '../../../../src/services/grpc-channel.ts'
import { collect } from '../../../support/collect.ts'
import { startTestServer } from '../../../support/grpc-server.ts'
import { type Behaviour, type HostileCall, startHostileServer } from '../../../support/hostile-grpc.ts'

const PUT = 'DirectoryService/Put'
const RETRY_MS = [1, 1]

/** Takes uploads with sizes by one of these formulas, and refuses others with a status. */
const strict =
  (formulas: readonly SizeFormula[], status = 13): Behaviour =>
  (call: HostileCall) => {
    const [child, parent] = call.requests.map((bytes) => Directory.decode(bytes)) as [Directory, Directory]
    const [reference] = [...parent.children()]
    if (!formulas.some((formula) => child.size(formula) === reference!.size))
      return call.trailersOnly(status, 'wrong size')
    return call.answer(directoryRpc.methods.Put.response.encode(parent.digest))
  }

async function ask(behaviour: Behaviour): Promise<{ formula: SizeFormula; uploads: number }> {
  await using peer = await startHostileServer({ [PUT]: behaviour })
  const channel = await openGrpcChannel(peer.address, { retryMs: RETRY_MS })
  try {
    const formula = await askSizeFormula(channel)
    return { formula, uploads: peer.calls.get(PUT) ?? 0 }
  } finally {
    channel.close()
  }
}

test.each<[string, readonly SizeFormula[], number, SizeFormula, number]>([
  ['2n + Σ', ['rust'], 13, 'rust', 1],
  ['either', ['rust', 'documented'], 13, 'rust', 1],
  ['n + Σ, and says INTERNAL', ['documented'], 13, 'documented', 2],
  ['n + Σ, and says INVALID_ARGUMENT', ['documented'], 3, 'documented', 2],
  ['neither', [], 13, 'rust', 2],
])('a peer that takes %s', async (_, formulas, status, formula, uploads) => {
  expect(await ask(strict(formulas, status))).toEqual({ formula, uploads })
})

test.each([
  ['PERMISSION_DENIED', 7],
  ['UNIMPLEMENTED', 12],
  ['RESOURCE_EXHAUSTED', 8],
])('%s tells nothing about sizes', async (_, status) => {
  expect(await ask((call) => call.trailersOnly(status))).toEqual({ formula: 'rust', uploads: 1 })
})

test('a peer that is away for a moment is asked again, and one that stays away is an error', async () => {
  let away = 1
  const takes = strict(['documented'])
  const found = await ask((call) => (away-- > 0 ? call.trailersOnly(14, 'away') : takes(call)))
  expect(found.formula).toBe('documented')
  await expect(ask((call) => call.trailersOnly(14, 'away'))).rejects.toMatchObject({ code: 'unavailable' })
})

test('stores behind a peer ask it, and nothing shows afterwards; other stores have nobody to ask', async () => {
  await using server = await startTestServer()
  const { address } = server
  await using remote = await openStores({ blobs: address, directories: address, pathInfos: address })
  expect(await remote.askSizeFormula!()).toBe('rust')
  expect(await collect(remote.pathInfos.list())).toEqual([])
  await using local = await openStores({
    blobs: 'memory://',
    directories: 'memory://',
    pathInfos: 'memory://',
  })
  expect(local.askSizeFormula).toBeUndefined()
})
