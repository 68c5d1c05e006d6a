import type { ErrorCode } from '../../src/support/errors.ts'
import {
  azureServer,
  gcsServer,
  S3_BUCKET,
  S3_KEYS,
  type Startable,
  s3Server,
  webdavServer,
} from './cloud-servers.ts'

/** A kind of bucket, and the server that speaks for it here. */
export interface Cloud {
  readonly name: string
  readonly server: () => Promise<Startable>
  /** Makes the bucket. */
  readonly prepare: (port: number) => Promise<void>
  /** The address, less `objectstore+`, of an empty place. */
  readonly url: (port: number, prefix: string) => string
  /** Addresses that must be refused. */
  readonly wrong: Readonly<
    Record<string, { readonly url: (port: number) => string; readonly code: ErrorCode }>
  >
}

const CONTAINER = 'container'
const AZURE = (port: number) =>
  `azure_storage_use_emulator=true&azure_storage_endpoint=http://127.0.0.1:${port}`
const GCS = (port: number) =>
  `google_base_url=http://127.0.0.1:${port}&allow_http=true&google_skip_signature=true`

function s3Url(port: number, prefix: string): string {
  return `s3://${S3_BUCKET}/${prefix}?aws_endpoint_url=http://127.0.0.1:${port}&aws_allow_http=true&aws_access_key_id=${S3_KEYS.access}&aws_secret_access_key=${S3_KEYS.secret}`
}

export const CLOUDS = {
  s3: {
    name: 'S3',
    server: s3Server,
    prepare: async () => {},
    url: s3Url,
    wrong: {
      'a bucket that does not exist': {
        url: (port) => s3Url(port, 'x').replace(S3_BUCKET, 'no-such-bucket'),
        code: 'precondition',
      },
      'a wrong key': { url: (port) => s3Url(port, 'x').replace(S3_KEYS.secret, 'wrong'), code: 'denied' },
      'no signature': {
        url: (port) => `${s3Url(port, 'x').replace(/aws_access.*/, '')}aws_skip_signature=true`,
        code: 'denied',
      },
    },
  },
  azure: {
    name: 'Azure',
    server: azureServer,
    async prepare(port) {
      const { BlobServiceClient } = await import('@azure/storage-blob')
      const connection = `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:${port}/devstoreaccount1;`
      await BlobServiceClient.fromConnectionString(connection).createContainer(CONTAINER)
    },
    url: (port, prefix) => `az://${CONTAINER}/${prefix}?${AZURE(port)}`,
    wrong: {
      'a container that does not exist': {
        url: (port) => `az://no-such/x?${AZURE(port)}`,
        code: 'precondition',
      },
      'a wrong key': {
        url: (port) => `az://${CONTAINER}/x?${AZURE(port)}&azure_storage_account_key=d3Jvbmc=`,
        code: 'denied',
      },
    },
  },
  gcs: {
    name: 'Google Cloud Storage',
    server: gcsServer,
    async prepare(port) {
      const headers = { 'content-type': 'application/json' }
      const body = JSON.stringify({ name: CONTAINER })
      const url = `http://127.0.0.1:${port}/storage/v1/b?project=test`
      const { ok, status } = await fetch(url, { method: 'POST', headers, body })
      if (!ok) throw new Error(`the bucket could not be made: ${status}`)
    },
    url: (port, prefix) => `gs://${CONTAINER}/${prefix}?${GCS(port)}`,
    wrong: {
      'a bucket that does not exist': { url: (port) => `gs://no-such/x?${GCS(port)}`, code: 'precondition' },
    },
  },
  webdav: {
    name: 'WebDAV',
    server: webdavServer,
    prepare: async () => {},
    url: (port, prefix) => `http://127.0.0.1:${port}/${prefix}/`,
    wrong: {}, // its folders come into being, and nobody is asked for a name
  },
} as const satisfies Record<string, Cloud>
