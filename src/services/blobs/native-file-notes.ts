import { loadAddon } from '../../support/addon.ts'

/** native/file_notes.c: what is to be noted on files and Node has no calls for. Failures are negative errnos. */
export interface NativeFileNotes {
  /** Its length; ERANGE where it is longer than `into`. */
  getAttribute(fd: number, name: string, into: Uint8Array): Promise<number>
  setAttribute(fd: number, name: string, value: Uint8Array): Promise<number>
  /**
   * Opens a file for reading if its path is in the kernel's memory, so without waiting, and fills `into` with its state (file-state.ts)
   * and the attribute, which must be as long as the rest. To be closed.
   */
  openNoted(path: string, name: string, into: Uint8Array): number
  /** Sets the time of access to now, and leaves that of modification alone. */
  touchAccess(path: string): Promise<number>
}

let loaded: NativeFileNotes | undefined | null = null

/** `undefined` where the addon was not built: everything works without it, only slower. */
export function nativeFileNotes(): NativeFileNotes | undefined {
  if (loaded === null) loaded = load()
  return loaded
}

function load(): NativeFileNotes | undefined {
  try {
    return loadAddon('file_notes') as NativeFileNotes
  } catch {
    return undefined
  }
}
