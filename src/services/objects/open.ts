import type { RequestPolicy } from '../requests.ts'
import { openAzureObjectStore } from './azure.ts'
import type { BucketAddress } from './bucket-address.ts'
import { openGcsObjectStore } from './gcs.ts'
import { openHttpObjectStore } from './http.ts'
import type { ObjectStore } from './interface.ts'
import { openS3ObjectStore } from './s3.ts'

/** Opens what the address of a bucket stands for; no request is made yet. Disposing of it closes its connections. */
export async function openBucket(
  address: BucketAddress,
  policy: Partial<RequestPolicy> = {},
): Promise<ObjectStore & Disposable> {
  switch (address.kind) {
    case 's3':
      return openS3ObjectStore(address, policy)
    case 'gcs':
      return openGcsObjectStore(address, policy)
    case 'azure':
      return openAzureObjectStore(address, policy)
    case 'http':
      return openHttpObjectStore(address, policy)
  }
}
