import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { PathInfo } from '../../../../src/model/nix/path-info.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import type { PathInfoService } from '../../../../src/services/pathinfos/interface.ts'
import { pathInfoRootNodes } from '../../../../src/services/pathinfos/root-nodes.ts'
import { hex, utf8, view } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'

const HASH = '00bgd045z0d4icpbc2yyz4gx48ak44la'

function pathInfo(basename: string): PathInfo {
  return {
    storePath: StorePath.parse(basename),
    node: { kind: 'file', digest: Digest.of(utf8(basename)), size: 1n, executable: false },
    references: [],
    narSize: 0n,
    narSha256: new Uint8Array(32),
    signatures: [],
    deriver: undefined,
    ca: undefined,
  }
}

function serviceOf(...known: PathInfo[]) {
  const asked: string[] = []
  const service: PathInfoService = {
    async get(outputHash) {
      asked.push(hex(outputHash))
      return known.find(({ storePath }) => hex(storePath.digest) === hex(outputHash))
    },
    put: async (info) => info,
    async *list() {
      yield* known
    },
  }
  return { service, asked }
}

describe('store paths as root nodes', () => {
  const hello = pathInfo(`${HASH}-hello`)

  test('the whole basename finds the node', async () => {
    const { service, asked } = serviceOf(hello)
    expect(await pathInfoRootNodes(service).get(utf8(`${HASH}-hello`))).toBe(hello.node)
    expect(asked).toEqual([hex(hello.storePath.digest)])
  })

  test.each([`${HASH}-goodbye`, `${HASH}-hell`, `${HASH}-hello2`, `${HASH}-Hello`])(
    '%s has the hash of another path and does not exist',
    async (name) => {
      const { service, asked } = serviceOf(hello)
      const nodes = pathInfoRootNodes(service)
      expect(nodes.canExist(utf8(name))).toBe(true)
      expect(await nodes.get(utf8(name))).toBeUndefined()
      expect(asked).toHaveLength(1)
    },
  )

  test.each([
    '',
    '.Trash',
    'hello',
    HASH,
    `${HASH}-`,
    `${HASH}_hello`,
    `${HASH.replace('0', 'e')}-hello`,
    `${HASH}-hello world`,
    `${HASH}-hällo`,
    `${HASH}-${'a'.repeat(212)}`,
  ])('"%s" is no store path: absent without asking', async (name) => {
    const { service, asked } = serviceOf(hello)
    const nodes = pathInfoRootNodes(service)
    expect(nodes.canExist(utf8(name))).toBe(false)
    expect(await nodes.get(utf8(name))).toBeUndefined()
    expect(asked).toEqual([])
  })

  test('an unknown path is absent, and a failing source is not absence', async () => {
    const { service } = serviceOf()
    expect(await pathInfoRootNodes(service).get(utf8(`${HASH}-hello`))).toBeUndefined()
    service.get = async () => Promise.reject(new StoreError('unavailable', 'gone'))
    await expect(pathInfoRootNodes(service).get(utf8(`${HASH}-hello`))).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  test('an answer about another path is corrupt', async () => {
    const { service } = serviceOf()
    service.get = async () => pathInfo(`${HASH.replace('00', '11')}-hello`)
    await expect(pathInfoRootNodes(service).get(utf8(`${HASH}-hello`))).rejects.toMatchObject({
      code: 'corrupt',
    })
  })

  test('on the spot: the same node, and nothing but what fits the question', () => {
    const { service, asked } = serviceOf()
    const nodes = pathInfoRootNodes(service, (outputHash) =>
      hex(outputHash) === hex(hello.storePath.digest) ? hello : undefined,
    )
    expect(nodes.getNow!(utf8(`${HASH}-hello`))).toBe(hello.node)
    for (const name of [`${HASH}-goodbye`, `${HASH.replace('00', '11')}-hello`, 'hello'])
      expect(nodes.getNow!(utf8(name))).toBeUndefined()
    const another = pathInfo(`${HASH.replace('00', '11')}-hello`)
    expect(pathInfoRootNodes(service, () => another).getNow!(utf8(`${HASH}-hello`))).toBeUndefined()
    expect(asked).toEqual([])
    expect(pathInfoRootNodes(service).getNow).toBeUndefined()
  })

  test('lists basenames with their nodes', async () => {
    const other = pathInfo(`${HASH.replace('00', '11')}-other`)
    const listed = []
    for await (const { name, node } of pathInfoRootNodes(serviceOf(hello, other).service).list())
      listed.push([view(name).toString(), node])
    expect(listed).toEqual([
      [hello.storePath.toString(), hello.node],
      [other.storePath.toString(), other.node],
    ])
  })
})
