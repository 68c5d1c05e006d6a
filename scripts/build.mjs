// Builds dist/ for the published package, since Node strips no types below node_modules: the sources and the packages that
// are plain JavaScript become fewer files, because a process that starts spends most of its time with finding and reading
// many. What a command imports when it needs it stays a file of its own, and so do the packages that it needs.
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { rolldown } from 'rolldown'

/** Packages that are bundled. The others bring binaries or load their own files, or belong to commands that may wait. */
const BUNDLED = new Set(['commander', 'lru-cache', 'smol-toml'])

const packageOf = (path) => path.split('/', path.startsWith('@') ? 2 : 1).join('/')

const externalPackages = {
  name: 'external packages',
  resolveId(path, importer) {
    if (importer === undefined || /^[./]/.test(path)) return null
    const isOurs = !importer.includes('/node_modules/')
    return isOurs && !BUNDLED.has(packageOf(path)) ? { id: path, external: true } : null
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
  plugins: [program, externalPackages, ownUrls],
})
await bundle.write({
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
// Which says of .js files that they are ES modules, as the sources are.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n')
chmodSync('dist/cli/main.js', 0o755)
