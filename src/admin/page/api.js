// Asking the proxy. A token, if one is needed, stays in this tab (sessionStorage) and goes in a header, never in
// an address.

const KEY = 'holdfast-token';
/** The proxy tells figures once a second: without any for this long it is away. */
const SILENT_MS_MAX = 6_000;
const RETRY_MS = 1_500;

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Why something was not done: `status` is that of HTTP, 0 where nothing answered. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const given = token.get();
  const headers = { ...options.headers, ...(given ? { Authorization: `Bearer ${given}` } : {}) };
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', ...options, headers });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refused(0, 'the proxy does not answer');
  }
  if (response.ok) return response;
  const why = await response.json().then((body) => body.error, () => response.statusText);
  throw new Refused(response.status, why);
}

/** Does it with a token that `ask` gets from the operator, where it takes one. */
async function withToken(path, options, ask) {
  for (let wrong = false; ; wrong = true) {
    try {
      return await request(path, options);
    } catch (error) {
      if (error.status !== 401) throw error;
      const had = token.get();
      token.forget();
      // From loopback reading needs none: only the wrong one was in the way.
      if (had && !options.method) continue;
      const given = await ask(wrong || had ? 'That was not the token of this proxy.' : '');
      if (!given) throw error;
      token.set(given);
    }
  }
}

export const get = async (path, ask) => (await withToken(path, {}, ask)).json();

export async function post(path, body, ask) {
  const options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  return (await withToken(path, options, ask)).json();
}

/** Calls `hear(name, data)` for each event, for ever; `away(why)` while there are none. */
export async function listen(hear, away, ask) {
  for (;;) {
    let why = 'the proxy ended the connection';
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENT_MS_MAX);
    try {
      const response = await withToken('/v1/events', { signal: silence.signal }, async (wrong) => {
        clearTimeout(timer);
        return ask(wrong);
      });
      await read(response.body, (name, data) => {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENT_MS_MAX);
        hear(name, data);
      });
    } catch (error) {
      why = error.name === 'AbortError' ? 'the proxy says nothing' : error.message;
    }
    clearTimeout(timer);
    away(why);
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
}

/** Server-sent events, as an EventSource reads them: that cannot say a token. */
async function read(body, hear) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      const fields = event.split('\n').map((line) => line.split(/: ?(.*)/s));
      const of = (key) => fields.filter(([name]) => name === key).map(([, text]) => text).join('\n');
      if (of('event')) hear(of('event'), JSON.parse(of('data')));
    }
  }
}
