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
}

const CONTAINER = 'container'
const AZURE = (port: number) =>
  `azure_storage_use_emulator=true&azure_storage_endpoint=http://127.0.0.1:${port}`
const GCS = (port: number) =>
  `google_base_url=http://127.0.0.1:${port}&allow_http=true&google_skip_signature=true`

export const CLOUDS = {
  s3: {
    name: 'S3',
    server: s3Server,
    prepare: async () => {},
    url: (port, prefix) =>
      `s3://${S3_BUCKET}/${prefix}?aws_endpoint_url=http://127.0.0.1:${port}&aws_allow_http=true&aws_access_key_id=${S3_KEYS.access}&aws_secret_access_key=${S3_KEYS.secret}`,
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
  },
  webdav: {
    name: 'WebDAV',
    server: webdavServer,
    prepare: async () => {},
    url: (port, prefix) => `http://127.0.0.1:${port}/${prefix}/`,
  },
} as const satisfies Record<string, Cloud>
