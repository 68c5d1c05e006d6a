import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { FuseSession, type SessionOptions } from '../../../../src/mount/fuse/session.ts'
import type { Tree } from '../../../../src/mount/tree/interface.ts'
import { silentLogger } from '../../../../src/support/log.ts'
import { directory, file, symlink } from '../../../posix/sample.ts'
import { FakeDevice, initBody } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'

/** Keeps what is logged at `error`. */
export class ErrorLog {
  readonly lines: string[] = []
  readonly logger = {
    ...silentLogger,
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (_fields: unknown, message?: string) => {
      this.lines.push(String(message))
    },
  } as SessionOptions['logger']
}

export const SAMPLE = directory({
  folder: directory({ inner: file('inner') }),
  hello: file('hello, world\n'),
  link: symlink('hello'),
  run: file('#!/bin/sh\n', true),
})

/** A session over a fake kernel, after INIT. */
export function serve<T extends Tree = FakeTree>(
  tree: T = new FakeTree(SAMPLE) as unknown as T,
  options: Partial<SessionOptions> = {},
  device = new FakeDevice(),
) {
  const log = new ErrorLog()
  const session = new FuseSession(device, tree, {
    owner: { uid: 0, gid: 0 },
    showXattr: true,
    negativeMs: 1500,
    callMs: 60_000,
    logger: log.logger,
    ...options,
  })
  session.start()
  device.request(Opcode.INIT, 0, initBody())
  return { device, session, tree, log }
}
