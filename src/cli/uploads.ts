import type { Stores } from '../services/composition/open-stores.ts'
import type { Uploads } from '../services/composition/stores.ts'
import { StoreError } from '../support/errors.ts'
import type { StopRequest } from '../support/lifecycle.ts'
import { WRITE_BACK_STALL_MS_MAX } from '../support/limits.ts'
import { ProgressLine } from './progress.ts'

/** How often is looked whether anything was sent. */
const LOOK_MS = 250

/**
 * At the end of a command that stored something: waits until what is written behind (`write-back`) has arrived, as long
 * as something does. What is left then stays in the queue, and is told; it is no failure, since near has it durably. What far
 * refuses does not arrive by itself: throws as far did when it refused something of this command's.
 */
export async function finishUploads(stores: Pick<Stores, 'uploads'>, stop: StopRequest): Promise<void> {
  const { uploads } = stores
  if (!uploads) return
  if (uploads.waiting > 0) await drain(uploads, stop)
  const { refused, refusal } = uploads
  if (refused === 0) return
  const kept = `${refused} uploads are kept that the far side refuses; each command over this store tries them again, and a daemon now and then`
  if (refusal) throw new StoreError(refusal.code, `${refusal.message}; ${kept}`, { cause: refusal })
  process.stderr.write(`${kept} (tvix-store config show names them)\n`)
}

async function drain(uploads: Uploads, stop: StopRequest): Promise<void> {
  const total = uploads.waiting
  const progress = new ProgressLine(() => `uploading ${total - uploads.waiting}/${total} objects`)
  using stall = new StallSignal(() => uploads.waiting, WRITE_BACK_STALL_MS_MAX)
  const isDone = await uploads.drained({ signal: AbortSignal.any([stop.signal, stall.signal]) }).then(
    () => true,
    () => false, // what failed is in the log already
  )
  progress.finish(
    isDone
      ? `uploaded ${uploads.refused > 0 ? 'what the far side takes' : `${total} objects`}`
      : `${uploads.waiting} uploads are left in the queue; they go on with the next command over this store`,
  )
}

/** Aborts when a number has not changed for `ms` milliseconds. */
class StallSignal implements Disposable {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout

  constructor(look: () => number, ms: number) {
    let last = look()
    let since = performance.now()
    this.#timer = setInterval(() => {
      const [now, current] = [performance.now(), look()]
      if (current !== last) [last, since] = [current, now]
      else if (now - since >= ms) this.#controller.abort()
    }, LOOK_MS)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
