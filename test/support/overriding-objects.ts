import type { ObjectStore } from '../../src/services/objects/interface.ts'

/** Another store over the same objects, which does some things in its own way. (A spread would lose methods of classes.) */
export function overriding(base: ObjectStore, changes: Partial<ObjectStore> = {}): ObjectStore {
  return {
    name: base.name,
    get: (key, call) => base.get(key, call),
    head: (key, call) => base.head(key, call),
    put: (key, body, call) => base.put(key, body, call),
    list: (prefix, call) => base.list(prefix, call),
    delete: (key, call) => base.delete(key, call),
    ...changes,
  }
}
