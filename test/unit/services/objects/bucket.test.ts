import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { parseBucketUrl } from '../../../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../../../src/services/objects/open.ts'
import type { RequestPolicy } from '../../../../src/services/requests.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { collect } from '../../../support/collect.ts'
import { type Answer, startHttpServer } from '../../../support/http-server.ts'

/** What a bucket does with the answers of a server that misbehaves: S3's words, and those of a web server. */
const KINDS = {
  S3: (url: URL) =>
    `s3://bucket/p?aws_endpoint_url=${url.origin}&aws_allow_http=1&aws_access_key_id=AKIATEST&aws_secret_access_key=top-secret`,
  Google: (url: URL) => `gs://bucket/p?google_base_url=${url.origin}&allow_http=1&google_skip_signature=1`,
  Azure: (url: URL) =>
    `az://bucket/p?azure_storage_use_emulator=1&azure_storage_endpoint=${url.origin}&azure_storage_account_key=dG9wLXNlY3JldA==`,
  HTTP: (url: URL) => `${url.origin}/p`,
}

const QUICK: Partial<RequestPolicy> = { retryMs: [1, 1], overloadRetryMs: [], silenceMsMax: 5_000 }
const BODY = Buffer.from('the object')
const NO_OBJECTS = '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
const HEADERS = { 'content-length': String(BODY.length), etag: '"1"' }

async function bucketOf(kind: keyof typeof KINDS, answer: Answer, policy: Partial<RequestPolicy> = {}) {
  const server = await startHttpServer(answer)
  const objects = await openBucket(parseBucketUrl(KINDS[kind](server.url)), { ...QUICK, ...policy })
  return {
    objects,
    requests: server.requests,
    async [Symbol.asyncDispose]() {
      objects[Symbol.dispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Answers one after the other; the last one again and again. */
function inTurn(...answers: readonly Answer[]): Answer {
  let turn = 0
  return (response, request) => answers[Math.min(turn++, answers.length - 1)]!(response, request)
}

/** Azure's SDK insists on an ETag. */
const object: Answer = (response) => response.writeHead(200, HEADERS).end(BODY)
const status =
  (code: number, headers: Record<string, string> = {}, body = ''): Answer =>
  (response) =>
    response.writeHead(code, headers).end(body)
const s3Error = (code: number, name: string): Answer =>
  status(
    code,
    { 'content-type': 'application/xml' },
    `<?xml version="1.0"?><Error><Code>${name}</Code><Message>says why</Message><RequestId>R1</RequestId></Error>`,
  )

async function failure(work: Promise<unknown>): Promise<StoreError> {
  try {
    await work
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
  throw new Error('it did not fail')
}

for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[])
  describe(`a bucket of ${kind}`, () => {
    it('tries again what the server was too busy for', async () => {
      await using bucket = await bucketOf(kind, inTurn(status(503), status(500), object))
      expect(await bucket.objects.get('k')).toEqual(new Uint8Array(BODY))
      expect(bucket.requests).toHaveLength(3)
    })

    it.each([
      [503, 5],
      [429, 5],
      [500, 3],
    ])(
      'waits longer for a server that is overloaded than for one that is broken: %i',
      async (code, tries) => {
        await using bucket = await bucketOf(kind, status(code), { overloadRetryMs: [1, 1] })
        expect((await failure(bucket.objects.get('k'))).code).toBe('unavailable')
        expect(bucket.requests).toHaveLength(tries)
      },
    )

    it('gives up in the end, and names the object and the bucket', async () => {
      await using bucket = await bucketOf(kind, status(503))
      const { code, message } = await failure(bucket.objects.get('k'))
      expect(code).toBe('unavailable')
      expect(message).toMatch(/^reading k in \S+\/p\/: /)
      expect(message).not.toContain('secret')
      expect(bucket.requests).toHaveLength(3)
    })

    it('tries again a body that breaks off, and does not pass on a part of it', async () => {
      const cut: Answer = (response) => {
        response.writeHead(200, HEADERS)
        response.write(BODY.subarray(0, 4))
        setImmediate(() => response.destroy())
      }
      await using healed = await bucketOf(kind, inTurn(cut, object))
      expect(await healed.objects.get('k')).toEqual(new Uint8Array(BODY))
      await using broken = await bucketOf(kind, cut)
      expect((await failure(broken.objects.get('k'))).code).toBe('unavailable')
    })

    it.each([401, 403])('does not take %s for absence, and does not insist', async (code) => {
      await using bucket = await bucketOf(kind, status(code))
      expect((await failure(bucket.objects.get('k'))).code).toBe('denied')
      expect((await failure(bucket.objects.head('k'))).code).toBe('denied')
      expect((await failure(bucket.objects.put('k', BODY))).code).toBe('denied')
      expect((await failure(collect(bucket.objects.list('')))).code).toBe('denied')
      expect(bucket.requests).toHaveLength(4)
    })

    it('ends by its deadline when the server falls silent', async () => {
      await using bucket = await bucketOf(kind, () => {}, { silenceMsMax: 300 })
      // The first call loads what speaks to that cloud, which may take longer.
      await failure(bucket.objects.head('k'))
      const before = bucket.requests.length
      expect((await failure(bucket.objects.get('k'))).code).toBe('deadline')
      expect((await failure(bucket.objects.head('k'))).code).toBe('deadline')
      expect(bucket.requests.slice(before)).toHaveLength(4)
    })

    it('ends by its deadline when the server falls silent in the middle of a body', async () => {
      const stall: Answer = (response) => {
        response.writeHead(200, HEADERS)
        response.write(BODY.subarray(0, 4))
      }
      await using bucket = await bucketOf(kind, stall, { silenceMsMax: 50 })
      expect((await failure(bucket.objects.get('k'))).code).toBe('deadline')
    })

    it('ends when its caller leaves', async () => {
      const controller = new AbortController()
      const leave: Answer = () => controller.abort(new StoreError('cancelled', 'the test leaves'))
      await using bucket = await bucketOf(kind, leave)
      expect((await failure(bucket.objects.get('k', { signal: controller.signal }))).code).toBe('cancelled')
      expect(bucket.requests).toHaveLength(1)
    })

    it('says who it is', async () => {
      const agents: string[] = []
      const note: Answer = (response: ServerResponse, request: IncomingMessage) => {
        agents.push(request.headers['user-agent'] ?? '')
        object(response, request)
      }
      await using bucket = await bucketOf(kind, note)
      await bucket.objects.get('k')
      expect(agents).toEqual([expect.stringMatching(/^tvix-store\/\d+\.\d+\.\d+/)])
    })

    it('makes 64 requests at a time and no more', async () => {
      let running = 0
      let most = 0
      const waiting: (() => void)[] = []
      const hold: Answer = (response, request) => {
        most = Math.max(most, ++running)
        waiting.push(() => {
          running--
          object(response, request)
        })
        // Everybody is let go when no more come.
        if (running === 64)
          setImmediate(() => {
            for (const go of waiting.splice(0)) go()
          })
      }
      await using bucket = await bucketOf(kind, hold)
      await Promise.all(Array.from({ length: 128 }, (_, index) => bucket.objects.get(`k${index}`)))
      expect(most).toBe(64)
    })
  })

describe('a bucket of S3', () => {
  it('that does not exist is no empty bucket', async () => {
    const noBucket: Answer = (response, request) =>
      request.method === 'HEAD'
        ? status(404)(response, request)
        : s3Error(404, 'NoSuchBucket')(response, request)
    await using bucket = await bucketOf('S3', noBucket)
    for (const work of [() => bucket.objects.head('k'), () => bucket.objects.get('k')]) {
      const { code, message } = await failure(work())
      // And not `not-found`, which a server would pass on as absence.
      expect(code).toBe('precondition')
      expect(message).toMatch(/s3:\/\/bucket\/p\/.*NoSuchBucket/)
    }
  })

  it('that may not be listed can be read, and its absent objects are refusals', async () => {
    await using bucket = await bucketOf('S3', s3Error(403, 'AccessDenied'))
    const { code, message } = await failure(bucket.objects.get('k'))
    expect(code).toBe('denied')
    expect(message).toContain('s3:ListBucket')
  })

  it('asks once whether it exists', async () => {
    const absent: Answer = (response, request) =>
      request.url?.includes('list-type')
        ? response.end(NO_OBJECTS)
        : s3Error(404, 'NoSuchKey')(response, request)
    await using bucket = await bucketOf('S3', absent)
    for (let i = 0; i < 3; i++) expect(await bucket.objects.get('k')).toBeUndefined()
    expect(bucket.requests).toHaveLength(4)
  })

  it('takes "it is there" for an answer to a put that asks for that', async () => {
    await using bucket = await bucketOf('S3', s3Error(412, 'PreconditionFailed'))
    await bucket.objects.put('k', BODY, { ifAbsent: true })
    expect((await failure(bucket.objects.put('k', BODY))).code).toBe('precondition')
  })

  it('does without conditional puts where the server knows none', async () => {
    const puts: (string | undefined)[] = []
    const old: Answer = (response, request) => {
      if (request.method !== 'PUT') return status(404)(response, request)
      puts.push(request.headers['if-none-match'])
      request.resume()
      return request.headers['if-none-match']
        ? s3Error(501, 'NotImplemented')(response, request)
        : response.end()
    }
    await using bucket = await bucketOf('S3', old)
    await bucket.objects.put('k', BODY, { ifAbsent: true })
    await bucket.objects.put('k', BODY, { ifAbsent: true })
    expect(puts).toEqual(['*', undefined, undefined])
  })

  describe('that gets an object in parts', () => {
    const LARGE = new Uint8Array(17 * 1024 * 1024)

    /** A server that takes uploads in parts; `complete` answers their end. */
    function uploads(
      complete: Answer,
      part: Answer = (response) => response.writeHead(200, { etag: '"1"' }).end(),
    ) {
      const seen: string[] = []
      const answer: Answer = (response, request) => {
        request.resume()
        const url = request.url ?? ''
        const what =
          ['uploads', 'partNumber', 'uploadId'].find((name) => url.includes(`${name}=`)) ?? 'object'
        seen.push(`${request.method} ${what}`)
        if (url.includes('list-type')) return response.end(NO_OBJECTS)
        if (request.method === 'DELETE') return response.writeHead(204).end()
        if (request.method === 'PUT') return part(response, request)
        if (request.method === 'HEAD') return object(response, request)
        if (what === 'uploadId') return complete(response, request)
        return response.end(
          '<InitiateMultipartUploadResult><UploadId>U</UploadId></InitiateMultipartUploadResult>',
        )
      }
      return { seen, answer }
    }

    it('gives up when one part fails, and says so to the server', async () => {
      const { seen, answer } = uploads(status(500), s3Error(403, 'AccessDenied'))
      await using bucket = await bucketOf('S3', answer)
      expect((await failure(bucket.objects.put('k', LARGE))).code).toBe('denied')
      expect(seen).toContain('DELETE uploadId')
    })

    it('is not misled by 200 with an error in it', async () => {
      const { seen, answer } = uploads(s3Error(200, 'InternalError'))
      await using bucket = await bucketOf('S3', answer)
      expect((await failure(bucket.objects.put('k', LARGE))).code).toBe('unavailable')
      expect(seen.at(-1)).toBe('DELETE uploadId')
    })

    it('has it when the answer to its end was lost', async () => {
      const { seen, answer } = uploads(
        inTurn((response) => response.destroy(), s3Error(404, 'NoSuchUpload')),
        (response) => response.writeHead(200, { etag: '"1"' }).end(),
      )
      // Absent before.
      let asked = 0
      await using bucket = await bucketOf('S3', (response, request) =>
        request.method === 'HEAD' && asked++ === 0
          ? status(404)(response, request)
          : answer(response, request),
      )
      await bucket.objects.put('k', LARGE, { ifAbsent: true })
      expect(seen.filter((each) => each === 'POST uploadId')).toHaveLength(2)
      await using other = await bucketOf('S3', uploads(s3Error(404, 'NoSuchUpload')).answer)
      expect((await failure(other.objects.put('k', LARGE))).code).toBe('precondition')
    })

    it('leaves no parts behind when somebody else was faster', async () => {
      const { seen, answer } = uploads(s3Error(412, 'PreconditionFailed'))
      await using bucket = await bucketOf('S3', (response, request) =>
        request.method === 'HEAD' ? status(404)(response, request) : answer(response, request),
      )
      await bucket.objects.put('k', LARGE, { ifAbsent: true })
      expect(seen.at(-1)).toBe('DELETE uploadId')
    })
  })

  it.each([
    ['s3://bucket?aws_endpoint_url=http://localhost', 'allow_http=true'],
    ['s3://bucket?aws_endpoint_url=localhost', 'no http or https URL'],
    ['az://container?azure_storage_client_secret=top-secret&account_name=a', 'azure_storage_tenant_id'],
    ['http://me:top-secret@localhost/', 'in the clear'],
    ['https://me:top-secret%zz@localhost/', 'not well-formed'],
    ['gs://bucket?google_service_account_key=top-secret', 'is no JSON'],
  ])('is refused when it cannot be what is meant: %s', async (url, why) => {
    const { code, message } = await failure(openBucket(parseBucketUrl(url)))
    expect(code).toBe('invalid-argument')
    expect(message).toContain(why)
    expect(message).not.toContain('top-secret')
  })
})

describe('a plain web server', () => {
  it('can be read, also where it ignores ranges', async () => {
    await using bucket = await bucketOf('HTTP', object)
    expect(await bucket.objects.get('k', { range: { start: 4, end: 7 } })).toEqual(
      new Uint8Array(Buffer.from('obj')),
    )
    expect(await bucket.objects.get('k', { range: { start: 99, end: 100 } })).toEqual(new Uint8Array(0))
  })

  it.each([405, 501])('that answers a put with %s is read-only, and says so', async (code) => {
    const readOnly: Answer = (response, request) => {
      request.resume()
      status(['GET', 'HEAD'].includes(request.method ?? '') ? 404 : code)(response, request)
    }
    await using bucket = await bucketOf('HTTP', readOnly)
    const put = await failure(bucket.objects.put('k', BODY, { ifAbsent: true }))
    expect(put.message).toMatch(/^storing k in http:.*: the server is read-only/)
    expect((await failure(bucket.objects.delete('k'))).message).toContain('the server is read-only')
    expect((await failure(collect(bucket.objects.list('')))).message).toContain('speaks no WebDAV')
    expect(await bucket.objects.get('k')).toBeUndefined()
  })

  it('is not an object where it has a folder', async () => {
    const folder: Answer = (response, request) =>
      request.url?.endsWith('/')
        ? response.end('<html>a listing</html>')
        : response.writeHead(301, { location: `${request.url}/` }).end()
    await using bucket = await bucketOf('HTTP', folder)
    expect(await bucket.objects.get('blobs')).toBeUndefined()
    expect(await bucket.objects.head('blobs')).toBeUndefined()
  })
})
