import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { printable } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { CLOSURE_DIRECTORIES_MAX, DIRECTORY_LOADS_MAX } from '../../support/limits.ts'

type Load = (digest: Digest, call: Call) => Promise<Directory | undefined>

interface Visit {
  readonly digest: Digest
  /** Who refers to it, for the message when it is missing; the root has nobody. */
  readonly from: { readonly parent: Digest; readonly name: Uint8Array } | undefined
  loading: Promise<Directory | undefined> | undefined
}

/**
 * The closure of `root`, breadth first in entry order, each directory once (spec §2.3). Loads ahead of what it
 * yields, and yields in order all the same. Yields nothing when the root is absent; throws `corrupt` when
 * something below it is, naming the reference. `source` is for that message.
 */
export async function* traverse(
  root: Digest,
  load: Load,
  source: string,
  call?: Call,
): AsyncGenerator<Directory> {
  const controller = new AbortController()
  const forward = () => controller.abort(call?.signal?.reason)
  call?.signal?.addEventListener('abort', forward, { once: true })
  const walk = new Walk(root, (digest) => load(digest, { signal: controller.signal }))
  try {
    for (;;) {
      throwIfAborted(call?.signal)
      const visit = walk.take()
      if (!visit) return
      const directory = await visit.loading!
      if (!directory && !visit.from) return
      if (!directory) throw missing(visit, source)
      walk.enqueueChildren(directory)
      yield directory
    }
  } finally {
    call?.signal?.removeEventListener('abort', forward)
    // The consumer left early or a load failed: nobody wants the loads ahead any more.
    controller.abort(new StoreError('cancelled', 'the walk ended'))
    await walk.settle()
  }
}

/** The queue: its first entries are being loaded. */
class Walk {
  readonly #load: (digest: Digest) => Promise<Directory | undefined>
  readonly #queue: Visit[] = []
  /** Queued or already yielded. */
  readonly #met = new Set<string>()
  /** Queue entries before this one are done; shifting a long array would move all the others. */
  #next = 0
  #started = 0

  constructor(root: Digest, load: (digest: Digest) => Promise<Directory | undefined>) {
    this.#load = load
    this.#enqueue({ digest: root, from: undefined, loading: undefined })
  }

  take(): Visit | undefined {
    this.#loadAhead()
    const visit = this.#queue[this.#next]
    if (visit) this.#next++
    if (this.#next >= 1024) this.#dropDone()
    return visit
  }

  enqueueChildren(parent: Directory): void {
    for (const { name, digest } of parent.children())
      this.#enqueue({ digest, from: { parent: parent.digest, name }, loading: undefined })
    this.#loadAhead()
  }

  async settle(): Promise<void> {
    await Promise.allSettled(this.#queue.slice(this.#next, this.#started).map((visit) => visit.loading))
  }

  #enqueue(visit: Visit): void {
    if (this.#met.has(visit.digest.key)) return
    if (this.#met.size >= CLOSURE_DIRECTORIES_MAX)
      throw new StoreError('exhausted', `more than ${CLOSURE_DIRECTORIES_MAX} directories in one closure`)
    this.#met.add(visit.digest.key)
    this.#queue.push(visit)
  }

  #loadAhead(): void {
    const end = Math.min(this.#queue.length, this.#next + DIRECTORY_LOADS_MAX)
    for (; this.#started < end; this.#started++) {
      const visit = this.#queue[this.#started]!
      visit.loading = this.#load(visit.digest)
      visit.loading.catch(() => {}) // awaited when its turn comes
    }
  }

  #dropDone(): void {
    this.#queue.splice(0, this.#next)
    this.#started -= this.#next
    this.#next = 0
  }
}

function missing(visit: Visit, source: string): StoreError {
  const { parent, name } = visit.from!
  return new StoreError(
    'corrupt',
    `${source}: directory ${visit.digest} is missing, although ${parent} refers to it as "${printable(name)}"`,
  )
}
