#!/usr/bin/env -S node --min-semi-space-size=4 --max-semi-space-size=8 --disable-warning=DEP0123
// By default V8 lets garbage grow to 200 MB before it looks at it; what we keep is a fraction of that.
import { existsSync, mkdirSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { loadCompiled } from './compiled-code.ts'

/**
 * Where code that was compiled stays for the next start, which it halves (XDG Base Directory Specification). Not in the
 * temp folder, as Node would by itself: whoever can write there would choose what runs here.
 */
function compileCacheFolder(): string {
  const { XDG_CACHE_HOME: cache } = process.env
  return join(cache && isAbsolute(cache) ? cache : join(homedir(), '.cache'), 'tvix-store/compiled')
}

/** Whether the folder is there now. Node by itself would look for one below /proc for ever (support/folders.ts). */
function createFolder(path: string): boolean {
  if (existsSync(path)) return true
  if (!createFolder(dirname(path))) return false
  try {
    mkdirSync(path)
  } catch {
    // Another process was faster, or it cannot be.
  }
  return existsSync(path)
}

/** What the published program is made of, by its contents: scripts/build.mjs writes it here. The sources have none. */
const BUILD = '@build@'

// Before anything else is loaded: what is compiled before is not kept. Where it cannot be, it does without.
const folder = compileCacheFolder()
if (createFolder(folder)) {
  enableCompileCache(folder)
  const own = join(folder, `${BUILD}-${process.version}`)
  if (!BUILD.startsWith('@') && createFolder(own)) loadCompiled(import.meta.dirname, own)
}
import('./program.ts')
