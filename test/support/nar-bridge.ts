import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { localStoreFlags, TVIX_STORE, until } from './cli.ts'

export interface NarBridge extends AsyncDisposable {
  readonly pid: number
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly log: () => string
  /** Resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface NarBridgeOptions {
  readonly flags?: readonly string[]
  readonly stores?: readonly string[]
}

/** The command over a store below `folder`, with its index there, on a port that the system chose. */
export async function startNarBridge(
  folder: string,
  { flags = [], stores = localStoreFlags(folder) }: NarBridgeOptions = {},
): Promise<NarBridge> {
  const index = `lmdb://${join(folder, 'nar-index.lmdb')}`
  const args = ['nar-bridge', '-l', '127.0.0.1:0', '--nar-index', index, ...stores, ...flags]
  const child = spawn(TVIX_STORE, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const exited = once(child, 'exit') as Promise<[number | null]>
  const address = () => /starting nar-bridge \{"listen_address":"([^"]*)"\}/.exec(log)?.[1]
  await until(() => address() !== undefined || child.exitCode !== null)
  if (!address()) throw new Error(`the bridge did not start:\n${log}`)
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    const [code] = await exited
    return code
  }
  return {
    pid: child.pid!,
    url: `http://${address()}`,
    log: () => log,
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}
