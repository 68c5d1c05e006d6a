import { readFileSync } from 'node:fs'

/** package.json lies two folders above, from `src/cli` and from `dist/cli` alike. */
const manifest: { version: string } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
)

export const VERSION = manifest.version
