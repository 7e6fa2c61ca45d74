// Server-sent events over fetch: EventSource cannot bring a token.
import { Unavailable } from './catalog.js';

const SILENT_MS = 10_000; // the node says something every second
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** Takes text as it comes; calls `onData` with each event's data, `onComment` with each comment. */
export function parser(onData, onComment = () => {}) {
  let rest = '';
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (data.length) onData(data.join('\n'));
        data = [];
      } else if (line.startsWith(':')) onComment(line.slice(1).trim());
      else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
    }
  };
}

/** Follows a stream while the page is looked at, and again after every end; later and later while it fails. */
export function follow(url, { headers = () => ({}), onData, onTrouble }) {
  let controller = null;
  let timer = 0;
  let failures = 0;
  let stopped = false;

  async function read(signal, watched) {
    watched(); // the head of the answer may be what never comes
    const response = await fetch(url, { headers: { Accept: 'text/event-stream', ...headers() }, cache: 'no-store', signal });
    if (!response.ok) throw new Unavailable(url, response.status);
    const take = parser(
      (data) => {
        failures = 0;
        onData(JSON.parse(data));
      },
      () => onTrouble(new Unavailable(url, 503)),
    );
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      watched();
      const { value, done } = await reader.read();
      if (done) return;
      take(value);
    }
  }

  async function run() {
    clearTimeout(timer);
    if (controller || stopped || document.hidden) return;
    const mine = new AbortController();
    controller = mine;
    let silence = 0;
    const watched = () => {
      clearTimeout(silence);
      silence = setTimeout(() => mine.abort(), SILENT_MS);
    };
    let trouble = null;
    try {
      await read(mine.signal, watched);
    } catch (error) {
      trouble = error;
    }
    clearTimeout(silence);
    controller = null;
    if (stopped || document.hidden) return;
    if (trouble) onTrouble(trouble);
    failures += 1;
    timer = setTimeout(run, Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS));
  }

  function turn() {
    if (document.hidden) controller?.abort();
    else run();
  }

  document.addEventListener('visibilitychange', turn);
  run();
  return {
    now() {
      failures = 0;
      run();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      controller?.abort();
      document.removeEventListener('visibilitychange', turn);
    },
  };
}
