/**
 * BLAKE3 behind one door. Two packages do the work: the native one runs at memory speed but costs microseconds
 * to start, the WebAssembly one starts in half a microsecond but hashes an order of magnitude slower. Each is
 * checked against a known answer when it is loaded, so that a broken build cannot store anything; and loaded when it is
 * first needed, which a command that reads from this machine may never do.
 */
import { createRequire } from 'node:module'
import type * as Native from '@napi-rs/blake-hash'
import type * as Wasm from 'blake3'

/** From here on the native one is faster, starting cost included (measured: 1.3 µs against 0.6 µs + 1.3 ns/B). */
const NATIVE_FROM_BYTES = 1024

export const BLAKE3_BYTES = 32

/** Of no bytes at all. */
export const BLAKE3_OF_NOTHING = 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'

export interface Blake3Hasher {
  update(bytes: Uint8Array): void
  /** The digest of everything so far; more may be added afterwards. */
  digest(): Uint8Array
}

const require = createRequire(import.meta.url)
let wasm: typeof Wasm | undefined
let native: typeof Native | undefined

export function blake3(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= NATIVE_FROM_BYTES) return (native ?? loadNative()).blake3(bytes)
  return (wasm ?? loadWasm()).hash(bytes) as Buffer
}

export function createBlake3(): Blake3Hasher {
  const hasher = new (native ?? loadNative()).Blake3Hasher()
  return {
    update: (bytes) => void hasher.update(bytes),
    digest: () => hasher.digestBuffer(),
  }
}

function loadWasm(): typeof Wasm {
  const loaded: typeof Wasm = require('blake3')
  expectKnownAnswer(loaded.hash(new Uint8Array(0)) as Buffer)
  wasm = loaded
  return loaded
}

function loadNative(): typeof Native {
  const loaded: typeof Native = require('@napi-rs/blake-hash')
  expectKnownAnswer(loaded.blake3(new Uint8Array(0)))
  expectKnownAnswer(new loaded.Blake3Hasher().digestBuffer())
  native = loaded
  return loaded
}

function expectKnownAnswer(digest: Uint8Array): void {
  if (Buffer.from(digest).toString('hex') !== BLAKE3_OF_NOTHING)
    throw new Error('BLAKE3 gives wrong answers on this machine: reinstall the npm packages')
}
