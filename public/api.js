/**
 * Requests over HTTP.
 *
 * Owns: paths, and what an answer or a failure looks like. Must never know: why somebody asks.
 */

/** What the server answers; throws its words when it refuses. `keepalive` lets a request outlive the page. */
async function request(method, path, { token, body } = {}) {
  const headers = body ? { 'Content-Type': 'application/json' } : {};
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    const url = new URL(`api/${path}`, document.baseURI);
    response = await fetch(url, { method, headers, body: body && JSON.stringify(body), keepalive: method === 'DELETE' });
  } catch {
    throw new Error('The server cannot be reached.');
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.detail ?? `The server refuses (${response.status}).`);
  return answer;
}

const roomPath = (room) => `me/rooms/${encodeURIComponent(room)}`;

export const api = {
  login: (user, password) => request('POST', 'sessions', { body: { user, password } }),
  /** `session` proves that the name is one's own, if a guest has it. */
  register: (user, password, session) => request('POST', 'accounts', { body: { user, password, session: session ?? undefined } }),
  logout: (token) => request('DELETE', 'sessions', { token }),
  changePassword: (token, password, newPassword) => request('PUT', 'me/password', { token, body: { password, newPassword } }),
  keep: (token, room) => request('PUT', roomPath(room), { token }),
  forget: (token, room) => request('DELETE', roomPath(room), { token }),
};
