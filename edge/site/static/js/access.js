// The token for reading counts, where the node wants one. It is kept for this tab only.
import { session } from './storage.js';

const KEY = 'smartedu.counts-token';

/** Header fields of a request that reads counts. */
export const authorization = () => (session.get(KEY) ? { Authorization: `Bearer ${session.get(KEY)}` } : {});

export const setToken = (token) => (token ? session.set(KEY, token) : session.remove(KEY));
