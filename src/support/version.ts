import { readFileSync } from 'node:fs'

/** package.json lies two folders above, from `src/support` and from `dist/support` alike. */
const manifest: { version: string } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
)

export const VERSION = manifest.version
