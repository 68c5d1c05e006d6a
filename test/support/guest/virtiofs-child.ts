/** Serves the sample tree (test/posix/sample.ts) to guests, at the sockets that it is given. */
import { readFileSync } from 'node:fs'
import { serveGuests } from '../../../src/mount/virtiofs/guest-server.ts'
import { MOUNT_CALL_MS_MAX, MOUNT_NEGATIVE_MS } from '../../../src/support/limits.ts'
import { createLogger } from '../../../src/support/log.ts'
import { sampleTree } from '../../posix/sample.ts'
import { FakeTree } from '../fake-tree.ts'

await serveGuests({
  tree: new FakeTree(sampleTree(readFileSync('/bin/true'))),
  sockets: process.argv.slice(2),
  permissions: {},
  owner: { uid: 0, gid: 0 },
  showXattr: true,
  negativeMs: MOUNT_NEGATIVE_MS,
  callMs: MOUNT_CALL_MS_MAX,
  logger: createLogger('error'),
})
console.log('ready')
