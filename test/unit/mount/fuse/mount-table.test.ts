import { describe, expect, it } from 'vitest'
import { parseMountTable, readMountTable, topMount } from '../../../../src/mount/fuse/mount-table.ts'

const TABLE = `22 27 0:21 / /proc rw,relatime - proc proc rw
63 43 0:39 / /mnt/with\\040space\\011tab\\134back ro,nosuid shared:1 master:2 - fuse tvix-store ro,user_id=0
64 43 8:1 /sub /mnt/other rw propagate_from:3 - ext4 /dev/sda1 rw
65 64 0:40 / /mnt/other ro - fuse tvix-store ro
66 64 0:41 / /mnt/plain ro - tmpfs  ro
garbage

`

describe('the mount table', () => {
  it('knows device, target, type and source whatever optional fields there are', () => {
    expect(parseMountTable(TABLE)).toEqual([
      { device: '0:21', target: '/proc', type: 'proc', source: 'proc' },
      { device: '0:39', target: '/mnt/with space\ttab\\back', type: 'fuse', source: 'tvix-store' },
      { device: '8:1', target: '/mnt/other', type: 'ext4', source: '/dev/sda1' },
      { device: '0:40', target: '/mnt/other', type: 'fuse', source: 'tvix-store' },
      { device: '0:41', target: '/mnt/plain', type: 'tmpfs', source: '' },
    ])
  })

  it('finds what lies on top', () => {
    const entries = parseMountTable(TABLE)
    expect(topMount(entries, '/mnt/other')?.type).toBe('fuse')
    expect(topMount(entries, '/mnt')).toBeUndefined()
  })

  it.skipIf(process.platform !== 'linux')('of this machine has a root', async () => {
    expect(topMount(readMountTable(), '/')).toBeDefined()
  })
})
