import type {
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
  UntypedHandleCall,
  UntypedServiceImplementation,
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
import { view } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { pullFrom, ResponseSink } from './backpressure.ts'
import { checkResponseSize } from './message-size.ts'
import { type CallContext, RunningCall, type ServerCall } from './running-call.ts'

/**
 * The plain function that serves a method. What it throws becomes a status by the error table. Requests of a stream come
 * as what one message holds: one, or several where it came in pieces; each `await` of a piece of 16 KiB would show.
 */
export type Handler<M> =
  M extends Method<infer Kind, infer Request, infer Response>
    ? Kind extends 'unary'
      ? (request: Request, call: ServerCall) => Promise<Response>
      : Kind extends 'server-stream'
        ? (request: Request, call: ServerCall) => AsyncIterable<Response>
        : (requests: AsyncIterable<readonly Request[]>, call: ServerCall) => Promise<Response>
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
  context: CallContext,
): UntypedServiceImplementation {
  const adapt = ([name, method]: [string, AnyMethod]) => [
    name,
    ADAPTERS[method.kind](method, handlers[name] as never, context),
  ]
  return Object.fromEntries(Object.entries(service.methods).map(adapt))
}

const ADAPTERS: {
  readonly [K in MethodKind]: (
    method: AnyMethod,
    handler: Handler<Method<K, unknown, unknown>>,
    context: CallContext,
  ) => UntypedHandleCall
} = {
  unary: adaptUnary,
  'server-stream': adaptServerStream,
  'client-stream': adaptClientStream,
}

function adaptUnary(
  method: AnyMethod,
  handler: Handler<Method<'unary', unknown, unknown>>,
  context: CallContext,
): UntypedHandleCall {
  return async (call: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>) => {
    const running = new RunningCall(call, context)
    try {
      running.admit(false)
      const response = await handler(decodeRequest(method, call.request, running), running)
      respond(null, view(encodeResponse(method, response, running)))
      running.end()
    } catch (error) {
      respond(running.end(error))
    }
  }
}

function adaptServerStream(
  method: AnyMethod,
  handler: Handler<Method<'server-stream', unknown, unknown>>,
  context: CallContext,
): UntypedHandleCall {
  return async (call: ServerWritableStream<Buffer, Buffer>) => {
    const running = new RunningCall(call, context)
    const sink = new ResponseSink(call, running, context.answers)
    const end = context.answers.begin()
    try {
      running.admit(false)
      for await (const response of handler(decodeRequest(method, call.request, running), running))
        await sink.write(encodeResponseParts(method, response, running))
      call.end()
      running.end()
    } catch (error) {
      call.emit('error', running.end(error)) // how grpc-js takes the status of a stream
    } finally {
      end()
    }
  }
}

function adaptClientStream(
  method: AnyMethod,
  handler: Handler<Method<'client-stream', unknown, unknown>>,
  context: CallContext,
): UntypedHandleCall {
  return async (call: ServerReadableStream<Buffer, Buffer>, respond: sendUnaryData<Buffer>) => {
    const running = new RunningCall(call, context)
    try {
      running.admit(true)
      const response = await handler(decodeRequests(method, call, running, context), running)
      respond(null, view(encodeResponse(method, response, running)))
      running.end()
    } catch (error) {
      respond(running.end(error))
    }
  }
}

async function* decodeRequests(
  method: AnyMethod,
  call: ServerReadableStream<Buffer, Buffer>,
  running: RunningCall,
  { limits }: CallContext,
): AsyncGenerator<readonly unknown[]> {
  const { decodeParts } = method.request
  for await (const message of pullFrom(call, running.signal, decodeParts !== undefined)) {
    const bytes = totalLength(message)
    const giveBack = limits.takeUploadBytes(bytes)
    running.receivedBytes += bytes
    try {
      yield checked(method, () => decodeParts?.(message) ?? [method.request.decode(message[0]!)])
    } finally {
      giveBack()
    }
  }
}

function decodeRequest(method: AnyMethod, bytes: Uint8Array, running: RunningCall): unknown {
  running.receivedBytes += bytes.length
  return checked(method, () => method.request.decode(bytes))
}

function checked<T>(method: AnyMethod, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof ValidationError) || !method.describeFault) throw error
    throw new StoreError('invalid-argument', method.describeFault(error.message), { cause: error })
  }
}

function encodeResponse(method: AnyMethod, response: unknown, running: RunningCall): Uint8Array {
  const bytes = method.response.encode(response)
  checkResponseSize(bytes.length, running.receiveLimit)
  running.sentBytes += bytes.length
  return bytes
}

function encodeResponseParts(
  method: AnyMethod,
  response: unknown,
  running: RunningCall,
): readonly Uint8Array[] {
  const parts = method.response.encodeParts?.(response) ?? [method.response.encode(response)]
  const bytes = totalLength(parts)
  checkResponseSize(bytes, running.receiveLimit)
  running.sentBytes += bytes
  return parts
}

function totalLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}
