#!/usr/bin/env -S node --min-semi-space-size=4 --max-semi-space-size=8 --disable-warning=DEP0123
// By default V8 lets garbage grow to 200 MB before it looks at it; what we keep is a fraction of that.
import { enableCompileCache } from 'node:module'
import { loadCompiled } from './compiled-code.ts'
import { buildFolder, compiledFolder, createFolder } from './compiled-folder.ts'

// Node would open a debugger for whoever can reach the loopback interface. A mount tells its counters, once it has some.
process.on('SIGUSR1', () => {})

/** What the published program is made of, by its contents: scripts/build.mjs writes it here. The sources have none. */
const BUILD = '@build@'

if (Number.parseInt(process.version.slice(1), 10) < 24) {
  console.error(`tvix-store: needs Node.js 24 or newer, and this is ${process.version}`)
  process.exit(69)
}
// Before anything else is loaded: what is compiled before is not kept. Where it cannot be, it does without.
const folder = compiledFolder(process.env)
if (folder) {
  const own = BUILD.startsWith('@') ? undefined : buildFolder(folder, BUILD, process.version)
  if (own ?? createFolder(folder)) enableCompileCache(own ?? folder)
  if (own) loadCompiled(import.meta.dirname, own)
}
import('./program.ts')
