import { accessSync, constants } from 'node:fs'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { systemCode } from '../../support/errors.ts'
import type { StoreAddresses } from './stores.ts'

const SYSTEM_STATE = '/var/lib/tvix-store'
const LOCAL_DAEMON = 'grpc+http://[::1]:8000'

type Environment = Readonly<Record<string, string | undefined>>

/** What commands talk to unless told otherwise: a daemon on this machine (spec §4.1). */
export const CLIENT_ADDRESSES: StoreAddresses = {
  blobs: LOCAL_DAEMON,
  directories: LOCAL_DAEMON,
  pathInfos: LOCAL_DAEMON,
}

/** Where the daemon keeps its data unless told otherwise (spec §4.1, with LMDB in the place of redb). */
export function daemonAddresses(env: Environment = process.env, systemState = SYSTEM_STATE): StoreAddresses {
  const { pathname } = pathToFileURL(stateFolder(env, systemState))
  return {
    blobs: `objectstore+file://${pathname}/blobs.object_store`,
    directories: `lmdb://${pathname}/directories.lmdb`,
    pathInfos: `lmdb://${pathname}/pathinfo.lmdb`,
  }
}

/**
 * Where the daemons of snix keep theirs (spec §4.5, with LMDB in the place of redb): a bucket of blobs that is there is read on, and
 * what a service manager has prepared for them is where it is expected.
 */
export function snixDaemonAddresses(
  env: Environment = process.env,
  systemStates = '/var/lib',
): StoreAddresses {
  const folder = (name: string) => pathToFileURL(stateFolder(env, join(systemStates, name))).pathname
  return {
    blobs: `objectstore+file://${folder('snix-castore')}/blobs`,
    directories: `lmdb://${folder('snix-castore')}/directories.lmdb`,
    pathInfos: `lmdb://${folder('snix-store')}/pathinfo.lmdb`,
  }
}

/** Where the binary cache remembers uploads unless told otherwise. */
export function narIndexAddress(env: Environment = process.env, systemState = SYSTEM_STATE): string {
  return `lmdb://${pathToFileURL(stateFolder(env, systemState)).pathname}/nar-index.lmdb`
}

/**
 * The system's state folder for those who may write there, else one of that name in the user's (XDG Base Directory
 * Specification, `XDG_STATE_HOME`). Without a home there is only the former.
 */
function stateFolder(env: Environment, systemState: string): string {
  const userState = userStateFolder(env)
  return userState && !mayCreate(systemState) ? join(userState, basename(systemState)) : systemState
}

function userStateFolder(env: Environment): string | undefined {
  const { XDG_STATE_HOME: state, HOME: home } = env
  // The specification: a relative path is invalid and to be ignored.
  if (state && isAbsolute(state)) return state
  return home ? join(home, '.local/state') : undefined
}

/**
 * Where `import` remembers the files of trees (XDG Base Directory Specification, `XDG_CACHE_HOME`); without a home it
 * does not.
 */
export function importCacheFolder(env: Environment = process.env): string | undefined {
  const { XDG_CACHE_HOME: cache, HOME: home } = env
  if (cache && isAbsolute(cache)) return join(cache, 'tvix-store', 'import')
  return home ? join(home, '.cache', 'tvix-store', 'import') : undefined
}

/** Whether `path` is writable, or may be created as far as permissions go. */
function mayCreate(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch (error) {
    const parent = dirname(path)
    return systemCode(error) === 'ENOENT' && parent !== path && mayCreate(parent)
  }
}
