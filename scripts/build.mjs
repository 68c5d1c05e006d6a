// Builds dist/ for the published package, since Node strips no types below node_modules: the sources and the packages that
// are plain JavaScript become fewer files, because a process that starts spends most of its time with finding and reading
// many. What a command imports when it needs it stays a file of its own, and so do the packages that it needs.
import { createHash } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { rolldown } from 'rolldown'

/** Packages that are bundled. The others bring binaries or load their own files, or belong to commands that may wait. */
const BUNDLED = new Set(['commander', 'lmdb', 'lru-cache', 'smol-toml'])

/** What a bundled package imports that is not bundled: it calls `eval` on names that a bundler may change. */
const NOT_BUNDLED = new Set(['ordered-binary'])

const packageOf = (path) => path.split('/', path.startsWith('@') ? 2 : 1).join('/')

const externalPackages = {
  name: 'external packages',
  resolveId(path, importer) {
    if (importer === undefined || /^[./]/.test(path)) return null
    const isOurs = !importer.includes('/node_modules/')
    const isBundled = isOurs ? BUNDLED.has(packageOf(path)) : !NOT_BUNDLED.has(path)
    return isBundled ? null : { id: path, external: true }
  },
}

/** A module that looks for files beside itself finds them from the folder of the bundle, too. */
const ownUrls = {
  name: 'own urls',
  load(path) {
    if (!/\/src\/.*\.ts$/.test(path)) return null
    const text = readFileSync(path, 'utf8')
    if (!text.includes('import.meta.url')) return null
    const own = JSON.stringify(`../${relative('src', path)}`)
    return { moduleType: 'ts', code: text.replaceAll('import.meta.url', `new URL(${own}, import.meta.url)`) }
  },
}

/**
 * What LMDB's package imports and we do not need, which was more than half of the time that it took to load: an encoder of values, which
 * are bytes here, and a search for its binary, which is where npm puts it, or else is found by that search.
 */
const LMDB_PARTS = {
  msgpackr: 'export const Encoder = undefined',
  'node-gyp-build-optional-packages': `
    import { createRequire } from 'node:module'
    export default function load() {
      const lmdb = createRequire(import.meta.url).resolve('lmdb')
      const require = createRequire(lmdb)
      try {
        return require('@lmdb/lmdb-' + process.platform + '-' + process.arch + '/node.napi.glibc.node')
      } catch {
        return require('node-gyp-build-optional-packages')(lmdb.slice(0, lmdb.lastIndexOf('/dist/')))
      }
    }`,
}

const lmdbParts = {
  name: 'parts of lmdb',
  resolveId: (path, importer) =>
    importer?.includes('/node_modules/lmdb/') && Object.hasOwn(LMDB_PARTS, path) ? `lmdb-part:${path}` : null,
  load: (id) => (id.startsWith('lmdb-part:') ? LMDB_PARTS[id.slice('lmdb-part:'.length)] : null),
}

/**
 * The first look at the global `performance` loads nine modules of Node. The package makes a note of it for times to live, which it
 * counts in milliseconds; `Date` is what it takes where there is none.
 */
const lruCache = {
  name: 'lru-cache',
  transform(code, path) {
    if (!path.includes('/node_modules/lru-cache/')) return null
    const changed = code.replace('typeof performance=="object"', 'false')
    if (changed === code) throw new Error('lru-cache no longer looks for `performance` as it did')
    return { code: changed, map: null }
  },
}

/** Modules of Node that take milliseconds to load and that many commands never use; each is loaded when it is first used. */
const LATE_MODULES = [
  'node:child_process',
  'node:crypto',
  'node:net',
  'node:stream/promises',
  'node:v8',
  'node:vm',
  'node:zlib',
]

const lateModules = {
  name: 'late modules',
  renderChunk(code) {
    const used = new RegExp(`([\\w$]+) = require\\("(${LATE_MODULES.join('|')})"\\)`, 'g')
    const changed = code.replace(used, '$1 = __late(() => require("$2"))')
    // No line of the code moves.
    return changed === code ? null : { code: changed + LATE, map: null }
  },
}

const LATE = `
function __late(load) {
  let loaded
  return new Proxy({}, { get: (_, name) => (loaded ??= load())[name] })
}`

/** The rest of the program is a module of its own, since only what is imported later is kept compiled. */
const program = {
  name: 'program',
  resolveId: (path) => (path === './program.ts' ? { id: './program.js', external: true } : null),
}

/**
 * What every command needs is one file, and what a mount of local files needs beside that is another, whoever else uses parts of
 * it: sorted by who uses them, they would be forty, and finding and linking those takes longer than anything else until a
 * mount serves. With these modules go all that they import at once. `src/cli/program.ts` waits for the commands, and so cannot
 * be in a file with them.
 */
const GROUPS = {
  base: [
    'node_modules/commander/index.js',
    'src/cli/logging.ts',
    'src/cli/output.ts',
    'src/support/version.ts',
  ],
  core: ['src/cli/mount.ts', 'src/services/directories/lmdb.ts', 'src/services/pathinfos/lmdb.ts'],
}

rmSync('dist', { recursive: true, force: true })
const bundle = await rolldown({
  input: { main: 'src/cli/main.ts', program: 'src/cli/program.ts' },
  platform: 'node',
  plugins: [program, lmdbParts, lruCache, externalPackages, ownUrls, lateModules],
})
const { output } = await bundle.write({
  dir: 'dist/cli',
  // Linking ES modules, and the namespaces that Node makes for them of its own modules, with everything that their getters load, took
  // a tenth of a start.
  format: 'cjs',
  dynamicImportInCjs: false,
  sourcemap: true,
  sourcemapExcludeSources: true,
  // Names of functions and lines are for whoever reads a stack trace.
  minify: { compress: { target: 'node24', keepNames: { function: true, class: true } }, mangle: false },
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  codeSplitting: {
    groups: Object.entries(GROUPS).map(([name, modules], i, all) => ({
      name,
      test: (path) => modules.some((module) => path === resolve(module)),
      priority: all.length - i,
    })),
  },
})
// V8 keeps a text with a single character beyond Latin-1 in two bytes a character, and all of it is read at every start.
for (const { fileName, type } of output)
  if (type === 'chunk') {
    const text = readFileSync(`dist/cli/${fileName}`, 'utf8')
    writeFileSync(`dist/cli/${fileName}`, text.replaceAll(/[^\0-\x7f]/g, escapeCharacter))
  }
// What was compiled of other contents must never be taken for theirs (src/cli/compiled-code.ts).
const contents = createHash('sha256')
for (const { fileName } of output) contents.update(readFileSync(`dist/cli/${fileName}`))
const build = contents.digest('hex').slice(0, 16)
const main = readFileSync('dist/cli/main.js', 'utf8').replace('@build@', build)
if (!main.includes(build)) throw new Error('main.js has no place for the name of the build')
writeFileSync('dist/cli/main.js', main)
// Which says of .js files that they are ES modules, as the sources are.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')
chmodSync('dist/cli/main.js', 0o755)

/** One unit of UTF-16, as all kinds of literals have it. */
function escapeCharacter(unit) {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
