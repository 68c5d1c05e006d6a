import {
  Metadata,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { ValidationError } from '../../model/castore/validation-error.ts'
import {
  type AnyMethod,
  type Family,
  type Method,
  type MethodKind,
  methodPath,
  type RpcService,
} from '../../model/wire/rpc.ts'
import { statusOfError } from '../../services/grpc-status.ts'
import { view } from '../../support/bytes.ts'
import { type ErrorCode, StoreError } from '../../support/errors.ts'
import type { Logger } from '../../support/log.ts'
import { pullFrom, ResponseSink } from './backpressure.ts'

/** What a handler knows of its call, besides the request. */
export interface ServerCall {
  /** Aborted when the client cancels or its connection is lost. */
  readonly signal: AbortSignal
  /** Sends the headers at once, so that a later error travels in the trailers (spec §1.13). */
  sendHeaders(): void
}

/** The plain function that serves a method. What it throws becomes a status by the error table. */
export type Handler<M> =
  M extends Method<infer Kind, infer Request, infer Response>
    ? Kind extends 'unary'
      ? (request: Request, call: ServerCall) => Promise<Response>
      : Kind extends 'server-stream'
        ? (request: Request, call: ServerCall) => AsyncIterable<Response>
        : (requests: AsyncIterable<Request>, call: ServerCall) => Promise<Response>
    : never

export type Handlers<S extends RpcService> = { readonly [N in keyof S['methods']]: Handler<S['methods'][N]> }

const sameBytes = (bytes: Uint8Array) => view(bytes)

/**
 * A service under the name of one family. Messages stay bytes as far as grpc-js is concerned: they are decoded
 * here, where a malformed one can be answered with INVALID_ARGUMENT instead of INTERNAL.
 */
export function defineService(family: Family, service: RpcService): ServiceDefinition {
  const define = ([name, { kind }]: [string, AnyMethod]) => [
    name,
    {
      path: methodPath(family, service, name),
      requestStream: kind === 'client-stream',
      responseStream: kind === 'server-stream',
      requestSerialize: sameBytes,
      requestDeserialize: sameBytes,
      responseSerialize: sameBytes,
      responseDeserialize: sameBytes,
    },
  ]
  return Object.fromEntries(Object.entries(service.methods).map(define))
}

export function implementService<S extends RpcService>(
  service: S,
  handlers: Handlers<S>,
  logger: Logger,
): UntypedServiceImplementation {
  const adapt = ([name, method]: [string, AnyMethod]) => {
    const procedure = `${service.name}/${name}`
    const report = (error: unknown) => reportError(error, procedure, logger)
    return [name, ADAPTERS[method.kind](method, handlers[name] as never, report)]
  }
  return Object.fromEntries(Object.entries(service.methods).map(adapt))
}

type Report = (error: unknown) => { code: number; details: string }

const ADAPTERS: {
  readonly [K in MethodKind]: (
    method: AnyMethod,
    handler: Handler<Method<K, unknown, unknown>>,
    report: Report,
  ) => UntypedHandleCall
} = {
  unary: adaptUnary,
  'server-stream': adaptServerStream,
  'client-stream': adaptClientStream,
}

function adaptUnary(
  method: AnyMethod,
  handler: Handler<Method<'unary', unknown, unknown>>,
  report: Report,
): UntypedHandleCall {
  return async (call: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>) => {
    try {
      const response = await handler(decodeRequest(method, call.request), createCall(call))
      respond(null, view(method.response.encode(response)))
    } catch (error) {
      respond(report(error))
    }
  }
}

function adaptServerStream(
  method: AnyMethod,
  handler: Handler<Method<'server-stream', unknown, unknown>>,
  report: Report,
): UntypedHandleCall {
  return async (call: ServerWritableStream<Buffer, Buffer>) => {
    const context = createCall(call)
    const sink = new ResponseSink(call, context.signal)
    try {
      for await (const response of handler(decodeRequest(method, call.request), context))
        await sink.write(method.response.encodeParts?.(response) ?? [method.response.encode(response)])
      call.end()
    } catch (error) {
      call.emit('error', report(error)) // how grpc-js takes the status of a stream
    }
  }
}

function adaptClientStream(
  method: AnyMethod,
  handler: Handler<Method<'client-stream', unknown, unknown>>,
  report: Report,
): UntypedHandleCall {
  return async (call: ServerReadableStream<Buffer, Buffer>, respond: sendUnaryData<Buffer>) => {
    const context = createCall(call)
    try {
      const response = await handler(decodeRequests(method, call, context.signal), context)
      respond(null, view(method.response.encode(response)))
    } catch (error) {
      respond(report(error))
    }
  }
}

async function* decodeRequests(
  method: AnyMethod,
  call: ServerReadableStream<Buffer, Buffer>,
  signal: AbortSignal,
): AsyncGenerator<unknown> {
  for await (const bytes of pullFrom(call, signal)) yield decodeRequest(method, bytes)
}

function decodeRequest(method: AnyMethod, bytes: Uint8Array): unknown {
  try {
    return method.request.decode(bytes)
  } catch (error) {
    if (!(error instanceof ValidationError) || !method.describeFault) throw error
    throw new StoreError('invalid-argument', method.describeFault(error.message), { cause: error })
  }
}

interface AnyServerCall {
  on(event: 'cancelled', listener: () => void): unknown
  readonly cancelled: boolean
  sendMetadata(metadata: Metadata): void
}

function createCall(call: AnyServerCall): ServerCall {
  const controller = new AbortController()
  const abort = () => controller.abort(new StoreError('cancelled', 'the client went away'))
  if (call.cancelled) abort()
  else call.on('cancelled', abort)
  return { signal: controller.signal, sendHeaders: () => call.sendMetadata(new Metadata()) }
}

/** Failures that are ours rather than the client's. */
const OUR_FAULTS: ReadonlySet<ErrorCode> = new Set(['corrupt', 'unavailable', 'internal', 'deadline'])

function reportError(error: unknown, procedure: string, logger: Logger): { code: number; details: string } {
  const known = StoreError.from(error)
  if (OUR_FAULTS.has(known.code)) logger.warn({ procedure, code: known.code, err: known }, 'a call failed')
  else logger.debug({ procedure, code: known.code, reason: known.message }, 'a call was refused')
  return statusOfError(known)
}
