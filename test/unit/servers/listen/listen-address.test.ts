import { describe, expect, test } from 'vitest'
import { parseListenAddress } from '../../../../src/servers/listen/listen-address.ts'
import { StoreError } from '../../../../src/support/errors.ts'

describe('understood', () => {
  test.each([
    ['127.0.0.1:8000', { kind: 'port', host: '127.0.0.1', port: 8000 }],
    ['[::]:8000', { kind: 'port', host: '::', port: 8000 }],
    ['[fe80::1%eth0]:1', { kind: 'port', host: 'fe80::1%eth0', port: 1 }],
    ['localhost:0', { kind: 'port', host: 'localhost', port: 0 }],
    ['/run/a:8000', { kind: 'unix', path: '/run/a:8000' }],
    ['./socket', { kind: 'unix', path: './socket' }],
    ['@name', { kind: 'unix', path: '\0name' }],
    ['sd-listen', { kind: 'inherited', selection: undefined }],
    ['sd-listen:*', { kind: 'inherited', selection: '*' }],
    ['sd-listen:store', { kind: 'inherited', selection: 'store' }],
  ])('%s', (address, place) => {
    expect(parseListenAddress(address)).toEqual({ text: address, place, roles: [] })
    expect(parseListenAddress(`${address}?role=read-only,no-list`)).toEqual({
      text: address,
      place,
      roles: ['read-only', 'no-list'],
    })
  })
})

describe('refused', () => {
  test.each([
    ['inetd', 'no inetd mode'],
    ['@', 'give host:port'],
    ['sd-listen:', 'give host:port'],
    ['8000', 'give host:port'],
    ['localhost:65536', 'give host:port'],
    ['localhost:1?roles=read-only', 'unknown parameter roles'],
    ['localhost:1?role=readonly', 'unknown role "readonly": there are read-only and no-list'],
    ['localhost:1?role=', 'unknown role ""'],
    ['/run/socket?role=read-only,', 'unknown role ""'],
  ])('%s', (address, why) => {
    expect(() => parseListenAddress(address)).toThrow(StoreError)
    expect(() => parseListenAddress(address)).toThrow(why)
  })
})
