import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { until } from './cli.ts'
import { goProgram } from './go-program.ts'
import { npmProgram } from './npm-program.ts'
import { IS_ROOT } from './requirements.ts'
import { tempDir } from './temp-dir.ts'

/** A server that really speaks the protocol of a cloud, on loopback. */
export interface CloudServer extends AsyncDisposable {
  readonly port: number
  /** Sends a signal; those that end it are waited for. What it stored stays, unless that was in its memory. */
  signal(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Starts it once more, at the same port. */
  restart(): Promise<void>
}

export type Startable = { readonly start: () => Promise<CloudServer> } | { readonly missing: string }

/** S3 with signatures that are checked: Versity's gateway over a folder. */
export const S3_KEYS = { access: 'tvixstoretest', secret: 'not-a-secret-at-all' }
export const S3_BUCKET = 'bucket'

export async function s3Server(): Promise<Startable> {
  const program = await goProgram('versitygw', 'github.com/versity/versitygw@v1.8.0', 'cmd/versitygw')
  if ('missing' in program) return program
  return {
    start: async () => {
      const dir = await tempDir()
      await mkdir(join(dir.path, 'data', S3_BUCKET), { recursive: true })
      await mkdir(join(dir.path, 'meta'))
      return await serve(dir, program.path, (port) => [
        ...['--port', `127.0.0.1:${port}`, '--access', S3_KEYS.access, '--secret', S3_KEYS.secret, '--quiet'],
        ...['--keep-alive', 'posix', '--sidecar', join(dir.path, 'meta'), join(dir.path, 'data')],
      ])
    },
  }
}

/** Azure Blob Storage: Microsoft's own emulator. */
export async function azureServer(): Promise<Startable> {
  const program = await npmProgram('azurite-blob', 'azurite@3.37.0')
  if ('missing' in program) return program
  return {
    start: async () => {
      const dir = await tempDir()
      return await serve(dir, process.execPath, (port) => [
        ...[program.path, '--silent', '--skipApiVersionCheck', '--disableTelemetry', '--inMemoryPersistence'],
        ...['--blobHost', '127.0.0.1', '--blobPort', String(port)],
      ])
    },
  }
}

/** Google Cloud Storage in memory. */
export async function gcsServer(): Promise<Startable> {
  const program = await goProgram('fake-gcs-server', 'github.com/fsouza/fake-gcs-server@v1.56.1')
  if ('missing' in program) return program
  return {
    start: async () =>
      await serve(await tempDir(), program.path, (port) => [
        ...['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-backend', 'memory'],
        ...[
          '-log-level',
          'error',
          '-public-host',
          `127.0.0.1:${port}`,
          '-external-url',
          `http://127.0.0.1:${port}`,
        ],
      ]),
  }
}

/** Bigtable: Google's own emulator. */
export async function bigtableServer(): Promise<Startable> {
  const program = await goProgram('emulator', 'cloud.google.com/go/bigtable@v1.58.0', 'cmd/emulator')
  if ('missing' in program) return program
  return {
    start: async () =>
      await serve(await tempDir(), program.path, (port) => ['-host', '127.0.0.1', '-port', String(port)]),
  }
}

/** A web server that speaks WebDAV: Apache's. */
export async function webdavServer(): Promise<Startable> {
  if (!existsSync(`${APACHE_MODULES}/mod_dav_fs.so`)) return { missing: 'apache2-bin is not installed' }
  return {
    start: async () => {
      const dir = await tempDir()
      await mkdir(join(dir.path, 'data'))
      // Started by root it works as nobody, whom the folder must belong to.
      if (IS_ROOT) for (const path of [dir.path, join(dir.path, 'data')]) await chown(path, NOBODY, NOBODY)
      const config = join(dir.path, 'apache.conf')
      return await serve(dir, 'apache2', async (port) => {
        await writeFile(config, apacheConfig(dir.path, port))
        return ['-X', '-f', config]
      })
    },
  }
}

async function serve(
  dir: { readonly path: string } & AsyncDisposable,
  command: string,
  args: (port: number) => readonly string[] | Promise<readonly string[]>,
): Promise<CloudServer> {
  const port = await freePort()
  const all = await args(port)
  let server = await startServer(dir.path, command, all, port)
  return {
    port,
    async signal(signal) {
      server.child.kill(signal)
      if (signal === 'SIGKILL' || signal === 'SIGTERM') await server.exited
    },
    async restart() {
      server = await startServer(dir.path, command, all, port)
    },
    async [Symbol.asyncDispose]() {
      server.child.kill('SIGKILL')
      await server.exited
      await dir[Symbol.asyncDispose]()
    },
  }
}

async function startServer(folder: string, command: string, args: readonly string[], port: number) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-10_000)
  })
  const exited = once(child, 'exit')
  await until(async () => child.exitCode !== null || (await accepts(port)))
  if (child.exitCode !== null) throw new Error(`${command} did not start:\n${log}`)
  return { child, exited }
}

/** User and group, on every Linux. */
const NOBODY = 65534
const APACHE_MODULES = '/usr/lib/apache2/modules'

function apacheConfig(folder: string, port: number): string {
  const modules = ['mpm_event', 'authz_core', 'dav', 'dav_fs']
  const load = modules.map((name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so`)
  return `
${load.join('\n')}
ServerName localhost
Listen 127.0.0.1:${port}
PidFile ${folder}/pid
Mutex file:${folder}
ErrorLog ${folder}/error.log
DocumentRoot ${folder}/data
DavLockDB ${folder}/data/.locks
User nobody
Group nogroup
KeepAlive On
MaxKeepAliveRequests 0
ThreadLimit 512
ThreadsPerChild 512
MaxRequestWorkers 512
<Location />
  Dav On
</Location>
`
}

/** Few servers can be told to choose a port and say which; between here and their start nobody else takes it. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
