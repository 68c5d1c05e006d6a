import { expect, test } from 'vitest'
import { levelOfDirectives, withoutOtlp } from '../../../src/cli/logging.ts'

test.each([
  ['', undefined],
  ['debug', 'debug'],
  ['TRACE', 'debug'],
  ['off', 'error'],
  ['hyper=debug', undefined],
  ['warn,hyper=debug', 'warn'],
  ['tvix_store=debug,h2=off', 'debug'],
  ['info,tvix_castore::blobservice=debug', 'debug'],
  ['nonsense', undefined],
  [',,=,a=b=c', undefined],
])('RUST_LOG=%s', (directives, level) => {
  expect(levelOfDirectives(directives)).toBe(level)
})

test.each([
  [
    ['--otlp', 'daemon', '-l', 'x'],
    ['daemon', '-l', 'x'],
  ],
  [['--log-level', 'info', '--otlp=false', 'daemon'], ['--log-level', 'info', 'daemon']], // biome-ignore format: a table
  [['import', '--', '--otlp'], ['import', '--', '--otlp']], // biome-ignore format: a table
  [['--otlpx'], ['--otlpx']],
])('without --otlp, %j is %j', (args, left) => {
  expect(withoutOtlp(args)).toEqual(left)
})
