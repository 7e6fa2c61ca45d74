// The two ways a browser plays HLS, behind one face, and the choice between them.
//
// An engine has: start(at), startAt(at), want(), select(rendition), retry(at), destroy(), and tells its owner through `report`:
//   report.rendition(name)   which rendition is shown now, where that is known
//   report.failed(kind)      it can't go on: network, media, unsupported, missing
// `at` is a position in seconds.

const NATIVE_TYPE = 'application/vnd.apple.mpegurl';
const NATIVE_START_MS = 12_000;
const MEDIA_REPAIRS = 2;
const REPAIR_WINDOW_MS = 15_000;

export const AUTO = 'auto';

const nativeWorks = (video) => video.canPlayType(NATIVE_TYPE) !== '';
const mediaSourceWorks = () => 'MediaSource' in window || 'ManagedMediaSource' in window;

/** The browser's own HLS. Renditions are chosen by playing a master that names only one. */
class Native {
  name = 'native';
  #video;
  #lesson;
  #report;
  #rendition;
  #at = 0;
  #abort = new AbortController();
  #watchdog = 0;

  constructor(video, lesson, rendition, report) {
    this.#video = video;
    this.#lesson = lesson;
    this.#rendition = rendition;
    this.#report = report;
    const options = { signal: this.#abort.signal };
    video.addEventListener('error', () => this.#failed(), options);
    video.addEventListener('loadedmetadata', () => this.#loaded(), options);
    video.addEventListener('resize', () => this.#tell(), options);
    video.addEventListener('play', () => this.#watch(), options);
  }

  start(at) {
    this.#load(at, false);
  }

  select(rendition) {
    if (rendition === this.#rendition) return;
    this.#rendition = rendition;
    this.#load(this.#video.readyState > 0 ? this.#video.currentTime : this.#at, !this.#video.paused);
    this.#tell();
  }

  retry(at) {
    this.#load(at, true);
  }

  /** Data is fetched by the video element itself when it wants to play. */
  want() {}

  startAt(at) {
    this.#at = at;
  }

  destroy() {
    this.#abort.abort();
    clearTimeout(this.#watchdog);
    this.#video.removeAttribute('src');
    this.#video.load();
  }

  #load(at, play) {
    const video = this.#video;
    const rate = video.playbackRate;
    this.#at = at;
    video.src = this.#source();
    video.load();
    video.playbackRate = rate; // load() puts it back to the default
    if (play) video.play().catch(() => {});
  }

  #loaded() {
    clearTimeout(this.#watchdog);
    if (this.#at > 0) this.#video.currentTime = this.#at;
  }

  #source() {
    const one = this.#lesson.renditions.find((rendition) => rendition.name === this.#rendition);
    return one?.master ?? this.#lesson.master;
  }

  #tell() {
    const height = this.#video.videoHeight;
    const shown = this.#lesson.renditions.find((rendition) => rendition.height === height);
    this.#report.rendition(shown?.name ?? null);
  }

  // Some browsers say they play HLS and then neither play nor fail.
  #watch() {
    clearTimeout(this.#watchdog);
    if (this.#video.readyState >= HTMLMediaElement.HAVE_METADATA) return;
    this.#watchdog = setTimeout(() => this.#report.failed('network'), NATIVE_START_MS);
  }

  #failed() {
    clearTimeout(this.#watchdog);
    const kinds = { [MediaError.MEDIA_ERR_NETWORK]: 'network', [MediaError.MEDIA_ERR_DECODE]: 'media', [MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED]: 'network' };
    this.#report.failed(kinds[this.#video.error?.code] ?? 'media');
  }
}

/** hls.js over Media Source Extensions. It asks for segments only once somebody wants to watch. */
class HlsJs {
  name = 'hls.js';
  #Hls;
  #video;
  #lesson;
  #report;
  #hls = null;
  #at = -1;
  #wanted = false;
  #rendition;
  #repairs = [];

  constructor(Hls, video, lesson, rendition, report) {
    this.#Hls = Hls;
    this.#video = video;
    this.#lesson = lesson;
    this.#rendition = rendition;
    this.#report = report;
  }

  start(at) {
    this.#at = at > 0 ? at : -1;
    const { Events } = this.#Hls;
    const hls = new this.#Hls({
      autoStartLoad: false,
      startPosition: this.#at,
      capLevelToPlayerSize: true,
      enableWorker: false, // CMAF segments pass through; a worker would only add a script to load
      abrEwmaDefaultEstimate: 1_500_000,
      // Lessons have low bit rates: bounded by bytes alone, ten minutes would be fetched for somebody who leaves after one.
      maxBufferLength: 30,
      maxMaxBufferLength: 60,
      backBufferLength: 60,
      // Captions come with the lesson document as <track>, the same for both engines.
      subtitleStreamController: undefined,
      subtitleTrackController: undefined,
      timelineController: undefined,
    });
    this.#hls = hls;
    hls.on(Events.MANIFEST_PARSED, () => this.#ready());
    hls.on(Events.LEVEL_SWITCHED, (_, { level }) => this.#report.rendition(this.#nameOf(hls.levels[level])));
    hls.on(Events.ERROR, (_, data) => data.fatal && this.#failed(data));
    hls.loadSource(this.#lesson.master);
    hls.attachMedia(this.#video);
  }

  want() {
    if (this.#wanted) return;
    this.#wanted = true;
    if (this.#hls?.levels.length) this.#hls.startLoad(this.#at);
  }

  startAt(at) {
    this.#at = at;
    if (this.#wanted && this.#hls?.levels.length) this.#hls.startLoad(at);
  }

  select(rendition) {
    this.#rendition = rendition;
    if (this.#hls) this.#hls.nextLevel = this.#levelOf(rendition);
  }

  retry(at) {
    this.#hls?.destroy();
    this.#wanted = true;
    this.start(at);
    this.#video.play().catch(() => {});
  }

  destroy() {
    this.#hls?.destroy();
    this.#hls = null;
  }

  #ready() {
    if (this.#rendition !== AUTO) this.#hls.startLevel = this.#hls.loadLevel = this.#levelOf(this.#rendition);
    if (this.#wanted) this.#hls.startLoad(this.#at);
  }

  #levelOf(rendition) {
    const wanted = this.#lesson.renditions.find(({ name }) => name === rendition);
    return wanted ? this.#hls.levels.findIndex((level) => level.height === wanted.height) : -1;
  }

  #nameOf(level) {
    return this.#lesson.renditions.find(({ height }) => height === level?.height)?.name ?? null;
  }

  #failed(data) {
    const { ErrorTypes } = this.#Hls;
    if (data.type !== ErrorTypes.MEDIA_ERROR) return this.#report.failed(data.type === ErrorTypes.NETWORK_ERROR ? 'network' : 'media');
    const now = performance.now();
    this.#repairs = this.#repairs.filter((when) => now - when < REPAIR_WINDOW_MS);
    if (this.#repairs.length >= MEDIA_REPAIRS) return this.#report.failed('media');
    this.#repairs.push(now);
    this.#hls.recoverMediaError();
  }
}

async function loadHlsJs() {
  if (!mediaSourceWorks()) throw new Error('unsupported');
  let module;
  try {
    module = await import('../vendor/hls.mjs');
  } catch {
    throw new Error('missing');
  }
  if (!module.default.isSupported()) throw new Error('unsupported');
  return module.default;
}

/**
 * Plays a lesson with the engine that suits the browser: its own HLS where it has it, else hls.js. Where the first one fails for good,
 * the other takes over at the same position, once. `forced` ("native", "hls.js" or null) allows one only.
 */
export class Playback {
  #video;
  #lesson;
  #report;
  #forced;
  #engine = null;
  #fellBack = false;
  #rendition = AUTO;
  #at = 0;

  constructor(video, lesson, forced, report) {
    this.#video = video;
    this.#lesson = lesson;
    this.#forced = forced;
    this.#report = report;
    video.addEventListener('play', () => this.#engine?.want());
  }

  get engine() {
    return this.#engine?.name ?? '';
  }

  get rendition() {
    return this.#rendition;
  }

  async start(at) {
    this.#at = at;
    const native = this.#forced === 'native' || (this.#forced === null && nativeWorks(this.#video));
    if (native) this.#use(new Native(this.#video, this.#lesson, this.#rendition, this.#reporter('native')), at);
    else await this.#useHlsJs(at);
  }

  select(rendition) {
    this.#rendition = rendition;
    this.#engine?.select(rendition);
  }

  /** Another start position, chosen before there is anything to seek in. */
  seekBeforeStart(at) {
    this.#at = at;
    this.#engine?.startAt(at);
  }

  /** Tries again from `at` after a failure was reported. */
  async retry(at) {
    if (this.#engine) this.#engine.retry(at);
    else await this.start(at);
    this.#video.play().catch(() => {});
  }

  #use(engine, at) {
    this.#engine = engine;
    this.#report.engine(engine.name);
    engine.start(at);
    if (!this.#video.paused) engine.want();
  }

  async #useHlsJs(at) {
    try {
      const Hls = await loadHlsJs();
      this.#use(new HlsJs(Hls, this.#video, this.#lesson, this.#rendition, this.#reporter('hls.js')), at);
    } catch (error) {
      this.#report.failed(error.message === 'missing' ? 'missing' : 'unsupported');
    }
  }

  #reporter(name) {
    return {
      rendition: (rendition) => this.#report.rendition(rendition),
      failed: (kind) => this.#failed(name, kind),
    };
  }

  async #failed(name, kind) {
    if (name !== this.#engine?.name) return;
    if (name !== 'native' || this.#forced !== null || this.#fellBack || !mediaSourceWorks()) return this.#report.failed(kind);
    this.#fellBack = true;
    const at = this.#video.currentTime || this.#at;
    const playing = !this.#video.paused;
    this.#engine.destroy();
    this.#engine = null;
    await this.#useHlsJs(at);
    if (playing && this.#engine) this.#video.play().catch(() => {});
  }
}
