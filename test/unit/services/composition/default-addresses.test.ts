import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAddress } from '../../../../src/services/composition/address.ts'
import {
  CLIENT_ADDRESSES,
  daemonAddresses,
  snixDaemonAddresses,
} from '../../../../src/services/composition/default-addresses.ts'
import { tempDir } from '../../../support/temp-dir.ts'

describe('default addresses', () => {
  it('are below the state folder of the system for those who may create it', async () => {
    await using dir = await tempDir()
    expect(daemonAddresses({ HOME: '/home/u' }, join(dir.path, 'lib/tvix-store'))).toEqual({
      blobs: `objectstore+file://${dir.path}/lib/tvix-store/blobs.object_store`,
      directories: `lmdb://${dir.path}/lib/tvix-store/directories.lmdb`,
      pathInfos: `lmdb://${dir.path}/lib/tvix-store/pathinfo.lmdb`,
    })
  })

  it.each([
    [{ HOME: '/home/u' }, '/home/u/.local/state/tvix-store'],
    [{ HOME: '/home/u', XDG_STATE_HOME: '/state' }, '/state/tvix-store'],
    [{ HOME: '/home/u', XDG_STATE_HOME: 'relative' }, '/home/u/.local/state/tvix-store'],
    [{ HOME: '/home/u', XDG_STATE_HOME: '' }, '/home/u/.local/state/tvix-store'],
  ])('are below the state folder of the user for others: %o', async (env, folder) => {
    await using dir = await tempDir()
    const file = join(dir.path, 'file')
    await writeFile(file, '')
    // A folder below a file can be created by nobody, not even by root, whom the tests may run as.
    expect(daemonAddresses(env, join(file, 'tvix-store')).directories).toBe(
      `lmdb://${folder}/directories.lmdb`,
    )
  })

  it('are where those of snix are for who is called by their names', async () => {
    await using dir = await tempDir()
    expect(snixDaemonAddresses({ HOME: '/home/u' }, dir.path)).toEqual({
      blobs: `objectstore+file://${dir.path}/snix-castore/blobs`,
      directories: `lmdb://${dir.path}/snix-castore/directories.lmdb`,
      pathInfos: `lmdb://${dir.path}/snix-store/pathinfo.lmdb`,
    })
    expect(snixDaemonAddresses({ HOME: '/home/u' }, '/dev/null').pathInfos).toBe(
      'lmdb:///home/u/.local/state/snix-store/pathinfo.lmdb',
    )
  })

  it('stay with the system for those without a home', () => {
    expect(daemonAddresses({}, '/dev/null/x').pathInfos).toBe('lmdb:///dev/null/x/pathinfo.lmdb')
  })

  it('are understood, whatever is in the folder’s name', () => {
    const { directories } = daemonAddresses({ XDG_STATE_HOME: '/state of ?#%41' }, '/dev/null/tvix-store')
    expect(parseAddress('directories', directories)).toEqual({
      kind: 'lmdb',
      path: '/state of ?#%41/tvix-store/directories.lmdb',
    })
  })

  it('name one local daemon for commands', () => {
    expect(new Set(Object.values(CLIENT_ADDRESSES))).toEqual(new Set(['grpc+http://[::1]:8000']))
  })
})
