import { loadLibfuse } from '../../src/mount/fuse/libfuse-binding.ts'

/** Why the libfuse driver cannot be used here; `undefined` when it can. */
export function whyNoLibfuse(): string | undefined {
  try {
    loadLibfuse()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
