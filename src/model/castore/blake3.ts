/**
 * BLAKE3 behind one door. A native package runs at memory speed but costs microseconds to start; small messages are hashed by
 * our addon, in half a microsecond, and where that is not built by WebAssembly, which takes 10 ms to load. Each is checked
 * against a known answer when it is loaded, so that a broken build cannot store anything; and loaded when it is first
 * needed, which a command that reads from this machine may never do.
 */
import { createRequire } from 'node:module'
import type * as Native from '@napi-rs/blake-hash'
import type * as Wasm from 'blake3'
import { type NativeCodec, nativeCodec } from '../../support/native-codec.ts'

/** From here on the native package is faster, starting cost included (measured: 1.3 µs against 0.4 µs + 1.5 ns/B). */
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
let small: ((bytes: Uint8Array) => Uint8Array) | undefined
let native: typeof Native | undefined

export function blake3(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= NATIVE_FROM_BYTES) return (native ?? loadNative()).blake3(bytes)
  return (small ?? loadSmall())(bytes)
}

export function createBlake3(): Blake3Hasher {
  const hasher = new (native ?? loadNative()).Blake3Hasher()
  return {
    update: (bytes) => void hasher.update(bytes),
    digest: () => hasher.digestBuffer(),
  }
}

function loadSmall(): (bytes: Uint8Array) => Uint8Array {
  small = nativeCodec ? hashByAddon(nativeCodec) : hashByWasm()
  expectKnownAnswer(small(new Uint8Array(0)))
  return small
}

function hashByAddon(codec: NativeCodec): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const digest = Buffer.alloc(BLAKE3_BYTES)
    // Else what is no array of bytes would have a digest of zeros.
    if (codec.blake3(bytes, digest) !== 0) throw new TypeError('BLAKE3 is of bytes')
    return digest
  }
}

function hashByWasm(): (bytes: Uint8Array) => Uint8Array {
  const wasm: typeof Wasm = require('blake3')
  return (bytes) => wasm.hash(bytes) as Buffer
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
