import { getSystemErrorName } from 'node:util'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { vhostAddon } from '../mount/virtiofs/vhost-addon.ts'
import { StoreError } from '../support/errors.ts'
import type { Logger } from '../support/log.ts'

export interface ConfinementOptions {
  readonly runAs?: string
  readonly confine: boolean
}

export function addConfinementOptions(command: Command): void {
  command
    .addOption(
      new Option('--run-as <user:group>', 'become this user once the sockets are there (as root)').argParser(
        parseUser,
      ),
    )
    .option('--no-confine', 'do not give up starting programs, mounting and tracing once it serves')
}

function parseUser(text: string): string {
  if (!/^[^:]+:[^:]+$/.test(text)) throw new InvalidArgumentError('it is <user>:<group>, names or numbers.')
  return text
}

/** Gives up what serving guests does not take: another user, and no more programs, mounts or privileges. */
export function confineProcess({ runAs, confine }: ConfinementOptions, logger: Logger): void {
  if (runAs !== undefined) become(runAs)
  else if (process.getuid?.() === 0)
    logger.warn({}, 'serving guests as root; --run-as USER:GROUP makes it somebody who can do less')
  if (!confine) return
  const failed = vhostAddon().confine()
  if (failed < 0) logger.warn({ reason: getSystemErrorName(failed) }, 'the process could not be confined')
}

/** `user:group`, by name or number. All threads change, and what root may do is gone with root. */
function become(runAs: string): void {
  const [user, group] = runAs.split(':').map((id) => (/^[0-9]+$/.test(id) ? Number(id) : id))
  try {
    process.setgroups!([group!])
    process.setgid!(group!)
    process.setuid!(user!)
  } catch (error) {
    const { message } = error as Error
    throw new StoreError('denied', `--run-as ${runAs}: ${message}`, { cause: error })
  }
}
