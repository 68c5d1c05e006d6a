import type { Readable } from 'node:stream'
import type { v2 } from '@google-cloud/bigtable'
import { type ChannelCredentials, credentials } from '@grpc/grpc-js'
import { hex } from '../support/bytes.ts'
import { type Call, throwIfAborted, withDeadline } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { BIGTABLE_CELL_BYTES_MAX } from '../support/limits.ts'
import type { BigtableAddress } from './bigtable-address.ts'
import { type BigtableRow, type CellChunk, RowAssembler } from './bigtable-rows.ts'
import { errorOfStatus } from './grpc-status.ts'
import { type Request, Requests } from './requests.ts'
import { importSdk } from './sdk.ts'

/**
 * Bytes under keys in a table of Bigtable (spec §3.5): the row key is the key in hexadecimal, and so is the qualifier
 * of the row's one cell. What was stored first stays.
 */
export interface BigtableTable extends AsyncDisposable {
  /** For messages. */
  readonly name: string
  get(key: Uint8Array, call?: Call): Promise<Uint8Array | undefined>
  /** Whether it was stored; else there was a value already, which was left as it is. */
  putIfAbsent(key: Uint8Array, value: Uint8Array, call?: Call): Promise<boolean>
  /** All rows in key order, as they come in. */
  list(call?: Call): AsyncIterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>
}

type Client = v2.BigtableClient
type ReadRowsAnswer = Readable & { cancel?(): void }

interface ReadRowsMessage {
  readonly chunks?: readonly CellChunk[] | null
}

/**
 * Opens a table, which must exist. Credentials are Google's usual ones; `BIGTABLE_EMULATOR_HOST` names an emulator,
 * which needs none. Throws `unimplemented` when the SDK is missing.
 */
export async function openBigtableTable(address: BigtableAddress): Promise<BigtableTable> {
  const sdk = await importSdk('@google-cloud/bigtable', () => import('@google-cloud/bigtable'))
  const clients = Array.from(
    { length: address.channels },
    () => new sdk.v2.BigtableClient({ projectId: address.projectId, ...OWN_CHANNEL, ...emulator() }),
  )
  return new OpenBigtableTable(clients, address)
}

/** Clients would share one connection otherwise, and with it the streams that it may have. */
const OWN_CHANNEL = { 'grpc.use_local_subchannel_pool': 1 }

function emulator(): { servicePath: string; port: number; sslCreds: ChannelCredentials } | undefined {
  const host = process.env['BIGTABLE_EMULATOR_HOST']
  if (!host) return undefined
  const url = URL.parse(`http://${host}`)
  if (!url?.port)
    throw new StoreError('invalid-argument', `BIGTABLE_EMULATOR_HOST is ${host}, but not host:port`)
  return { servicePath: url.hostname, port: Number(url.port), sslCreds: credentials.createInsecure() }
}

class OpenBigtableTable implements BigtableTable {
  readonly name: string
  readonly #clients: readonly Client[]
  readonly #address: BigtableAddress
  readonly #requests: Requests
  readonly #tableName: string
  #turn = 0

  constructor(clients: readonly Client[], address: BigtableAddress) {
    const { projectId, instance, table, timeoutMs } = address
    this.name = `bigtable://${instance}/${table}`
    this.#clients = clients
    this.#address = address
    this.#tableName = `projects/${projectId}/instances/${instance}/tables/${table}`
    this.#requests = new Requests(explain, { silenceMsMax: timeoutMs })
  }

  async get(key: Uint8Array, call?: Call): Promise<Uint8Array | undefined> {
    const row = hex(key)
    const [found, more] = await this.#requests.run(
      `${this.name}: reading row ${row}`,
      (request) => this.#rowsOf(row, request),
      call,
    )
    if (!found) return undefined
    if (more || found.key !== row)
      throw new StoreError(
        'corrupt',
        `${this.name}: asked for row ${row}, but got ${more ? 'several' : found.key}`,
      )
    return found.value
  }

  async putIfAbsent(key: Uint8Array, value: Uint8Array, call?: Call): Promise<boolean> {
    const row = hex(key)
    const what = `${this.name}: storing row ${row}`
    if (this.#address.isReadOnly)
      throw new StoreError('precondition', `${what}: it was opened with is_read_only=true`)
    if (value.length > BIGTABLE_CELL_BYTES_MAX)
      throw new StoreError(
        'exhausted',
        `${what}: it has ${value.length} bytes, the limit is ${BIGTABLE_CELL_BYTES_MAX}`,
      )
    const options = { signal: call?.signal, sends: value.length }
    return await this.#requests.run(what, (request) => this.#checkAndSet(row, value, request), options)
  }

  async *list(call?: Call): AsyncGenerator<{ key: Uint8Array; value: Uint8Array }> {
    const rows = new RowAssembler(this.#address.family)
    const answer = this.#readRows({ filter: { familyNameRegexFilter: literal(this.#address.family) } })
    const messages: AsyncIterator<ReadRowsMessage> = answer[Symbol.asyncIterator]()
    try {
      for (;;) {
        const { done, value } = await this.#nextMessage(messages, answer, call)
        if (done) break
        for (const chunk of value.chunks ?? []) {
          const row = rows.push(chunk)
          if (row) yield { key: keyOf(row), value: row.value }
          throwIfAborted(call?.signal)
        }
      }
      rows.finish()
    } catch (error) {
      throwIfAborted(call?.signal)
      const known = explain(error)
      throw new StoreError(known.code, `${this.name}: listing: ${known.message}`)
    } finally {
      end(answer)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()))
  }

  /** Time that the reader takes is not the server's, so each message has a deadline of its own. */
  async #nextMessage(
    messages: AsyncIterator<ReadRowsMessage>,
    answer: ReadRowsAnswer,
    call: Call | undefined,
  ): Promise<IteratorResult<ReadRowsMessage>> {
    throwIfAborted(call?.signal)
    using deadline = withDeadline(call, this.#address.timeoutMs, 'the next rows')
    const abort = () => end(answer, StoreError.from(deadline.signal.reason))
    deadline.signal.addEventListener('abort', abort, { once: true })
    return await messages.next()
  }

  /** The rows of one key: one, unless the server is wrong. */
  async #rowsOf(row: string, request: Request): Promise<BigtableRow[]> {
    const answer = this.#readRows({
      rows: { rowKeys: [Buffer.from(row)] },
      rowsLimit: 1,
      filter: {
        chain: {
          filters: [
            { familyNameRegexFilter: literal(this.#address.family) },
            { columnQualifierRegexFilter: Buffer.from(row) },
          ],
        },
      },
    })
    const { signal } = request
    const abort = () => end(answer, StoreError.from(signal.reason))
    signal.addEventListener('abort', abort, { once: true })
    const rows = new RowAssembler(this.#address.family)
    const found: BigtableRow[] = []
    for await (const { chunks } of answer as AsyncIterable<ReadRowsMessage>) {
      request.progress()
      found.push(...(chunks ?? []).flatMap((chunk) => rows.push(chunk) ?? []))
    }
    rows.finish()
    return found
  }

  #readRows(request: Parameters<Client['readRows']>[0]): ReadRowsAnswer {
    const { appProfile: appProfileId } = this.#address
    // No deadline of gRPC: a listing takes as long as its reader.
    return this.#client.readRows({ tableName: this.#tableName, appProfileId, ...request }, ONE_TRY)
  }

  async #checkAndSet(row: string, value: Uint8Array, { signal }: Request): Promise<boolean> {
    const { family: familyName, appProfile: appProfileId } = this.#address
    const asking = this.#client.checkAndMutateRow(
      {
        tableName: this.#tableName,
        appProfileId,
        rowKey: Buffer.from(row),
        predicateFilter: { columnQualifierRegexFilter: Buffer.from(row) },
        falseMutations: [
          // −1: the server says what time it is.
          { setCell: { familyName, columnQualifier: Buffer.from(row), timestampMicros: -1, value } },
        ],
      },
      ONE_TRY,
    )
    const abort = () => (asking as unknown as { cancel?: () => void }).cancel?.()
    signal.addEventListener('abort', abort, { once: true })
    const [{ predicateMatched }] = await asking
    return !predicateMatched
  }

  get #client(): Client {
    this.#turn = (this.#turn + 1) % this.#clients.length
    return this.#clients[this.#turn]!
  }
}

/**
 * Deadlines and tries are ours (see Requests). The SDK wants a deadline, too, and makes streams again that fail with
 * whatever error, for seven seconds.
 */
const ONE_TRY = {
  timeout: 24 * 3_600_000,
  retry: null,
  retryRequestOptions: { retries: 0, noResponseRetries: 0 },
}

/** Ends the call as well as the stream that the SDK lays over it. */
function end(answer: ReadRowsAnswer, reason?: StoreError): void {
  answer.cancel?.()
  answer.destroy(reason)
}

/** A text as a regular expression (RE2) that matches it alone. */
function literal(text: string): string {
  return text.replace(/[^A-Za-z0-9_]/g, '\\$&')
}

function keyOf({ key }: BigtableRow): Uint8Array {
  if (/^([0-9a-f]{2})+$/.test(key)) return Buffer.from(key, 'hex')
  throw new StoreError('corrupt', `row ${key} has a key that is no digest`)
}

function explain(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const { code, details, message } = error as { code?: unknown; details?: string; message?: string }
  if (typeof code === 'number') {
    const known = errorOfStatus({ code, details: details ?? message ?? '' }, 'Bigtable')
    // It is the table that is missing, and a server would tell its clients that a row is.
    return known.code === 'not-found' ? new StoreError('precondition', known.message) : known
  }
  if (message?.includes('Could not load the default credentials'))
    return new StoreError(
      'denied',
      'no credentials: set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account, or log in with gcloud auth application-default login',
    )
  return StoreError.from(error)
}
