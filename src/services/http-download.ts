import { throwIfAborted } from '../support/call.ts'
import type { StoreError } from '../support/errors.ts'
import { HTTP_RESUMPTIONS_MAX } from '../support/limits.ts'
import type { HttpClient, HttpRequest, HttpResponse } from './http-client.ts'
import { isPassing, unexpectedStatus } from './http-error.ts'

/**
 * The body of a GET. When the connection breaks it goes on with a range from there, some times in a row without any
 * progress at most. Only for what its reader compares with a digest: a strong ETag is insisted on where there is
 * one, but without it the second part could be of another file. Throws as `HttpClient.request` and `HttpBody` do,
 * and for any status but 200.
 */
export async function* download(
  client: HttpClient,
  url: URL,
  request: HttpRequest,
): AsyncGenerator<Uint8Array> {
  let response = await client.request(url, request)
  if (response.status !== 200) throw refused(response)
  const etag = strongTag(response)
  let received = 0
  for (let broken = 0; ; ) {
    try {
      for await (const piece of response.body) {
        received += piece.length
        broken = 0
        yield piece
      }
      return
    } catch (error) {
      if (!isPassing(error) || ++broken > HTTP_RESUMPTIONS_MAX) throw error
      throwIfAborted(request.signal)
      // Where the first answer came from may be a redirect's address, which holds for minutes and not for a large file.
      response = await resume(client, url, request, received, etag, error)
    }
  }
}

/** The rest of the body, or `failure` where it is not to be had. */
async function resume(
  client: HttpClient,
  url: URL,
  request: HttpRequest,
  offset: number,
  etag: string | undefined,
  failure: unknown,
): Promise<HttpResponse> {
  const headers = { ...request.headers, range: `bytes=${offset}-`, ...(etag && { 'if-range': etag }) }
  const response = await client.request(url, { ...request, headers })
  const fits =
    response.status === 206 &&
    response.headers['content-range']?.startsWith(`bytes ${offset}-`) === true &&
    strongTag(response) === etag
  if (fits) return response
  response.body.discard()
  throw failure
}

/** Weak tags stand for contents that are alike, which is not enough to go on in the middle. */
function strongTag({ headers: { etag } }: HttpResponse): string | undefined {
  return etag?.startsWith('"') ? etag : undefined
}

function refused(response: HttpResponse): StoreError {
  response.body.discard()
  return unexpectedStatus(response.url, response.status)
}
