/** `scripts/demo-guest`: a virtual machine whose /nix/store is served by `tvix-store virtiofs`. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { importedPath, localStoreFlags } from '../cli.ts'
import { DeviceProcess } from './device-process.ts'
import { Guest, runShellInGuest, whyNoGuests } from './machine.ts'

const USAGE = `usage: scripts/demo-guest [--path PATH]… [COMMAND…]
Imports PATHs (default: /usr/share/perl, /usr/share/doc/bash) into a store below ./.tvix-store, serves it over virtio-fs, boots
a Debian kernel on it, and runs COMMAND there in /nix/store, or a shell.`

const given = process.argv.slice(2)
// The first that is neither an option nor its value begins the command, whose options are its own.
const end = given.findIndex((arg, i) => !arg.startsWith('--') && given[i - 1] !== '--path')
const positionals = end < 0 ? [] : given.slice(end)
const { values } = parseArgs({
  args: end < 0 ? given : given.slice(0, end),
  options: { path: { type: 'string', multiple: true }, help: { type: 'boolean' } },
})
const reason = whyNoGuests()
if (values.help || reason) {
  console.error(values.help ? USAGE : `no guest can be booted here: ${reason}`)
  process.exit(values.help ? 0 : 69)
}

const store = join(process.cwd(), '.tvix-store')
await mkdir(store, { recursive: true })
const flags = localStoreFlags(store)
const folder = await mkdtemp(join(tmpdir(), 'tvix-store-demo-'))
try {
  for (const path of values.path ??
    ['/usr/share/perl', '/usr/share/doc/bash'].filter((each) => existsSync(each)))
    console.error(`imported: ${await importedPath(flags, path)}`)
  const socket = join(folder, 'store.socket')
  await using _device = await DeviceProcess.ours([socket], ['--list-root', ...flags])
  console.error('booting; without hardware virtualisation that takes some seconds')
  const options = { folder, shares: { store: socket } }
  process.exitCode =
    positionals.length > 0 ? await runCommand(options) : ((await runShellInGuest(options)) ?? 1)
} finally {
  await rm(folder, { recursive: true })
}

async function runCommand(options: Parameters<typeof Guest.boot>[0]): Promise<number> {
  await using guest = await Guest.boot(options)
  await guest.mount('store', '/nix/store')
  const { status, stdout, stderr } = await guest.run(
    'sh',
    '-c',
    'cd /nix/store && exec "$0" "$@"',
    ...positionals,
  )
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  return status ?? 1
}
