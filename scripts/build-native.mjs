// Builds the native addons (native/build/*.node) that are missing or older than their sources.
// Plain Node-API: one build works for every Node.js from 24 on, and nothing is downloaded.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Where node_api.h and uv.h may lie, the best match for the running Node.js first. */
function includeFolders() {
  const modules = join(root, 'node_modules')
  return [
    ...platformPackages(join(modules, 'node', 'node_modules')),
    ...platformPackages(modules),
    join(dirname(dirname(process.execPath)), 'include', 'node'),
    ...(process.env.npm_config_nodedir ? [join(process.env.npm_config_nodedir, 'include', 'node')] : []),
    // Debian's libnode-dev. Node-API and uv_poll are the same in every release.
    '/usr/include/node',
    '/usr/local/include/node',
  ]
}

/** The npm package `node` carries binaries and headers in a package per platform. */
function platformPackages(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.startsWith('node-linux-'))
    .map((name) => join(folder, name, 'include', 'node'))
}

function findHeaders() {
  const wanted = ['node_api.h', 'uv.h']
  const found = includeFolders().find((folder) => wanted.every((header) => existsSync(join(folder, header))))
  if (!found) fail(`no folder has ${wanted.join(' and ')}`, 'libnode-dev')
  return found
}

function fail(reason, debianPackage) {
  console.error(
    `build-native: ${reason}; on Debian install it with: apt-get install ${debianPackage}\n` +
      'build-native: without it everything works except mounting, and many small files are read and stored more slowly',
  )
  process.exit(1)
}

function requireProgram(program, debianPackage) {
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).status !== 0)
    fail(`the program ${program} is missing`, debianPackage)
}

if (process.platform !== 'linux') {
  console.error('build-native: nothing to do: FUSE mounts are for Linux')
  process.exit(0)
}
const compiler = process.env.CC ?? 'cc'
requireProgram('make', 'make')
requireProgram(compiler, 'gcc libc6-dev')
const make = spawnSync(
  'make',
  [
    '-s',
    '-C',
    join(root, 'native'),
    `CC=${compiler}`,
    `NODE_INCLUDE=${findHeaders()}`,
    `BUILD_ID=${process.pid}`,
  ],
  { stdio: ['ignore', 'inherit', 'inherit'] },
)
process.exit(make.status ?? 1)
