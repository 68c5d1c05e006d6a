import { describe, expect, test } from 'vitest'
import { callingOf, inCalledName } from '../../../src/cli/called-as.ts'

const called = (name: string, ...args: string[]) => callingOf(['/usr/bin/node', name, ...args])

describe('what a process was called as', () => {
  test.each([
    ['/opt/bin/nar-bridge', 'nar-bridge', 'tvix'],
    ['snix-nar-bridge', 'nar-bridge', 'snix'],
    ['/opt/bin/snix-castore', 'castore', 'snix'],
    ['snix-castore-http', 'castore http', 'snix'],
    ['snix-store', undefined, 'snix'],
    ['tvix-store', undefined, 'tvix'],
  ])('%s', (path, command, family) => {
    const name = path.split('/').at(-1)
    expect(called(path, 'a', '-b')).toEqual({ name, command, family, args: ['a', '-b'] })
  })

  test.each(['/checkout/src/cli/main.ts', '/dist/cli/main.js', '/opt/bin/my-store', ''])(
    '%j is tvix-store',
    (path) => {
      expect(called(path)).toEqual({ name: 'tvix-store', command: undefined, family: 'tvix', args: [] })
    },
  )

  test('the dispatcher passes on what stands on both sides of the command', () => {
    expect(called('snix', '-v', '-v', 'castore', 'ingest', '-')).toEqual({
      ...{ name: 'snix-castore', command: 'castore', family: 'snix' },
      args: ['-v', '-v', 'ingest', '-'],
    })
  })

  test.each([
    [['eval', 'x'], /snix-eval is no part of tvix-store, which has snix-store, snix-castore/],
    [['build'], /snix-build is no part/],
    [['nix-daemon'], /snix-nix-daemon is no part/],
    [[], /usage: snix store\|castore\|castore-http\|nar-bridge/],
  ])('the dispatcher says of %j what there is', (args, message) => {
    expect(() => called('snix', ...args)).toThrow(message)
  })
})

test('help is that of the program that was called', () => {
  const text =
    'Usage: tvix-store castore ingest\n  $ tvix-store key | (cd /var/lib/tvix-store; tvix-store castore -h)'
  expect(inCalledName({ name: 'snix-castore', command: 'castore' }, text)).toBe(
    'Usage: snix-castore ingest\n  $ tvix-store key | (cd /var/lib/tvix-store; snix-castore -h)',
  )
  expect(inCalledName({ name: 'snix-store', command: undefined }, text)).toBe(
    'Usage: snix-store castore ingest\n  $ snix-store key | (cd /var/lib/tvix-store; snix-store castore -h)',
  )
})
