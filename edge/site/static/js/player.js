// The player: a video element, an engine behind it, controls over it. It knows nothing of view events; those listen to the video.
import { Captions } from './captions.js';
import { el, find, icon, replace, setIcon } from './dom.js';
import { AUTO, Playback } from './engines.js';
import { clock } from './format.js';
import { Help } from './help.js';
import { onLanguage, t } from './i18n.js';
import { listen } from './keys.js';
import { Menu } from './menu.js';
import { SeekBar } from './seekbar.js';
import { local } from './storage.js';
import { Thumbnails } from './thumbnails.js';

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const QUIET_MS = 2_800;
const SPINNER_MS = 250;
const NOTICE_MS = 9_000;
const FLASH_MS = 900;
const VOLUME_KEY = 'smartedu.volume';

const button = (name, onclick, className = '') => el('button', { type: 'button', class: `control ${className}`, onclick }, icon(name));

function name(node, text) {
  node.setAttribute('aria-label', text);
  node.title = text;
}

export class Player {
  #root;
  #video;
  #lesson;
  #playback;
  #parts = {};
  #rendition = null;
  #start = 0;
  #timers = {};
  #failed = null;
  #resumedAt = null;

  /**
   * root: the element around the video. lesson: its document. start: position in seconds. engine: "native", "hls.js" or null.
   */
  constructor(root, lesson, { start, engine }) {
    this.#root = root;
    this.#video = find('video', root);
    this.#lesson = lesson;
    this.#start = start;
    this.#playback = new Playback(this.#video, lesson, engine, {
      engine: (used) => (root.dataset.engine = used),
      rendition: (shown) => {
        this.#rendition = shown;
        this.#showQuality();
      },
      failed: (kind) => this.#fail(kind),
    });
    this.#build();
    this.#listenToVideo();
    this.#listenToPointer();
    listen(this);
    this.#restoreSound();
    onLanguage(() => this.#label());
    this.#progress();
    if (start > 0) this.#offerRestart();
    this.#playback.start(start);
  }

  get video() {
    return this.#video;
  }

  get duration() {
    return Number.isFinite(this.#video.duration) && this.#video.duration > 0 ? this.#video.duration : (this.#lesson.duration_s ?? 0);
  }

  /** Where the viewer is, also before the first frame is there. */
  get position() {
    return this.#video.readyState > 0 ? this.#video.currentTime : this.#start;
  }

  // What keys and controls do.

  toggle() {
    if (this.#failed) return this.retry();
    if (this.#video.paused || this.#video.ended) this.play();
    else this.#video.pause();
  }

  play() {
    this.#video.play().catch((error) => {
      if (error.name === 'NotAllowedError') this.#root.dataset.state = 'paused';
    });
  }

  seek(second) {
    const to = Math.min(Math.max(0, second), Math.max(0, this.duration - 0.1));
    this.#start = to;
    if (this.#video.readyState > 0) this.#video.currentTime = to;
    else this.#playback.seekBeforeStart(to);
    this.#progress();
  }

  step(seconds) {
    this.seek(this.position + seconds);
    this.#flash(t(seconds < 0 ? 'player.back' : 'player.forward', { n: Math.abs(seconds) }));
  }

  jump(part) {
    this.seek(this.duration * part);
    this.#flash(t('player.jump', { t: clock(this.duration * part) }));
  }

  louder(by) {
    this.volume(Math.round((this.#video.volume + by) * 20) / 20);
    this.#flash(t('player.volume.at', { n: Math.round(this.#video.volume * 100) }));
  }

  volume(level) {
    this.#video.volume = Math.min(1, Math.max(0, level));
    this.#video.muted = this.#video.volume === 0;
  }

  mute() {
    this.#video.muted = !this.#video.muted;
    if (!this.#video.muted && this.#video.volume === 0) this.#video.volume = 0.5;
    this.#flash(this.#video.muted ? t('player.muted') : t('player.volume.at', { n: Math.round(this.#video.volume * 100) }));
  }

  speed(rate) {
    this.#video.playbackRate = rate;
  }

  faster(steps) {
    const at = SPEEDS.findIndex((rate) => rate >= this.#video.playbackRate);
    this.speed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at + steps))]);
    this.#flash(`${this.#video.playbackRate}×`);
  }

  quality(rendition) {
    this.#hold();
    this.#playback.select(rendition);
    this.#showQuality();
  }

  nextCaptions() {
    const { captions } = this.#parts;
    if (captions.languages.length === 0) return this.#flash(t('player.captions.none'));
    const label = captions.next();
    this.#flash(label ? t('player.captions.on', { name: label }) : t('player.captions.off'));
  }

  async fullscreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (this.#root.requestFullscreen) await this.#root.requestFullscreen();
      else this.#video.webkitEnterFullscreen?.(); // iPhones show only the video itself
    } catch {
      // refused by the browser; the page goes on as it is
    }
  }

  async pictureInPicture() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#video.requestPictureInPicture();
    } catch {
      // refused, or nothing loaded yet
    }
  }

  help() {
    this.#parts.help.toggle();
  }

  retry() {
    this.#failed = null;
    this.#parts.error.hidden = true;
    this.#root.dataset.state = 'paused';
    this.#playback.retry(this.#start || this.#video.currentTime);
  }

  // How it is put together.

  #build() {
    const video = this.#video;
    video.removeAttribute('controls');
    video.poster = this.#lesson.poster ?? '';
    const parts = this.#parts;
    parts.seek = new SeekBar(new Thumbnails(this.#lesson.thumbnails), (second) => this.seek(second));
    parts.big = el('button', { type: 'button', class: 'big-play', onclick: () => this.toggle() }, icon('play'));
    parts.play = button('play', () => this.toggle());
    parts.mute = button('volume', () => this.mute());
    parts.volume = el('input', { type: 'range', class: 'volume', min: 0, max: 1, step: 0.05, oninput: (event) => this.volume(Number(event.target.value)) });
    parts.time = el('span', { class: 'time' });
    parts.captions = new Captions(video, this.#lesson.captions, () => this.#showCaptions());
    parts.captionMenu = new Menu('menu-captions', (lang) => parts.captions.choose(lang));
    parts.speed = new Menu('menu-speed', (rate) => this.speed(rate));
    parts.quality = new Menu('menu-quality', (rendition) => this.quality(rendition));
    parts.keys = button('keyboard', () => this.help(), 'wide-only');
    parts.pip = button('pip', () => this.pictureInPicture(), 'wide-only');
    parts.full = button('fullscreen', () => this.fullscreen());
    parts.pip.hidden = !document.pictureInPictureEnabled;
    parts.captionMenu.element.hidden = parts.captions.languages.length === 0;
    parts.spinner = el('div', { class: 'spinner', role: 'status' }, el('span', { class: 'visually-hidden' }));
    parts.flash = el('div', { class: 'flash', role: 'status', 'aria-live': 'polite' });
    parts.notice = el('div', { class: 'notice-resume', hidden: true });
    parts.error = el('div', { class: 'player-error', role: 'alert', hidden: true });
    parts.held = el('canvas', { class: 'held-frame', 'aria-hidden': 'true', hidden: true });
    parts.help = new Help();
    parts.bar = el(
      'div',
      { class: 'controls', role: 'group' },
      parts.seek.element,
      el(
        'div',
        { class: 'buttons' },
        parts.play,
        el('div', { class: 'sound' }, parts.mute, parts.volume),
        parts.time,
        el('span', { class: 'gap' }),
        parts.captionMenu.element,
        parts.speed.element,
        parts.quality.element,
        parts.keys,
        parts.pip,
        parts.full,
      ),
    );
    this.#root.append(
      parts.held,
      parts.captions.element,
      parts.spinner,
      parts.bar,
      parts.big,
      parts.flash,
      parts.notice,
      parts.error,
      parts.help.element,
    );
    this.#root.dataset.state = 'idle';
  }

  #listenToVideo() {
    const on = (names, act) => names.split(' ').forEach((event) => this.#video.addEventListener(event, act));
    on('play', () => this.#state('playing'));
    on('pause', () => this.#state(this.#video.ended ? 'ended' : 'paused'));
    on('ended', () => this.#state('ended'));
    on('waiting seeking', () => this.#wait(true));
    on('playing seeked canplay pause', () => this.#wait(false));
    on('playing', () => this.#playing());
    on('seeked playing', () => (this.#parts.held.hidden = true));
    on('timeupdate progress durationchange loadedmetadata', () => this.#progress());
    on('volumechange', () => this.#showSound());
    on('ratechange', () => this.#showSpeed());
    on('enterpictureinpicture leavepictureinpicture', () => this.#showPip());
    document.addEventListener('fullscreenchange', () => this.#showFullscreen());
  }

  #state(state) {
    if (this.#failed) return;
    this.#root.dataset.state = state;
    const [sign, text] = { playing: ['pause', 'player.pause'], ended: ['replay', 'player.replay'] }[state] ?? ['play', 'player.play'];
    for (const part of [this.#parts.play, this.#parts.big]) {
      setIcon(part, sign);
      name(part, t(text));
    }
    this.#awake();
  }

  #playing() {
    this.#failed = null;
    this.#parts.error.hidden = true;
    this.#state('playing');
    clearTimeout(this.#timers.notice);
    this.#timers.notice = setTimeout(() => (this.#parts.notice.hidden = true), NOTICE_MS);
  }

  #wait(waiting) {
    clearTimeout(this.#timers.spinner);
    if (waiting && !this.#video.paused) this.#timers.spinner = setTimeout(() => this.#spin(true), SPINNER_MS);
    else this.#spin(false);
  }

  #spin(shown) {
    this.#root.toggleAttribute('data-waiting', shown);
    find('span', this.#parts.spinner).textContent = shown ? t('player.buffering') : '';
  }

  // The bar hides while the lesson plays and nobody moves.

  #listenToPointer() {
    const root = this.#root;
    const video = this.#video;
    let touched = false;
    let shownBefore = false;
    root.addEventListener('pointermove', (event) => event.pointerType !== 'touch' && this.#awake());
    root.addEventListener('pointerleave', (event) => event.pointerType !== 'touch' && this.#rest());
    root.addEventListener('focusin', () => this.#awake());
    root.addEventListener('keydown', () => this.#awake());
    video.addEventListener('pointerdown', (event) => {
      touched = event.pointerType === 'touch';
      shownBefore = root.hasAttribute('data-awake');
    });
    video.addEventListener('click', () => {
      // A finger first brings the controls; a mouse, which sees them already, plays and pauses.
      if (!touched) this.toggle();
      else if (shownBefore && !video.paused) this.#rest();
      else this.#awake();
    });
    video.addEventListener('dblclick', () => !touched && this.fullscreen());
  }

  #awake() {
    this.#root.setAttribute('data-awake', '');
    clearTimeout(this.#timers.quiet);
    if (!this.#video.paused) this.#timers.quiet = setTimeout(() => this.#rest(), QUIET_MS);
  }

  #rest() {
    const { speed, quality, captionMenu } = this.#parts;
    if (this.#video.paused) return;
    if (speed.open || quality.open || captionMenu.open || this.#root.querySelector('.controls :focus-visible')) return this.#awake();
    this.#root.removeAttribute('data-awake');
  }

  // What is shown.

  #progress() {
    const { buffered } = this.#video;
    const at = this.position;
    let loaded = 0;
    for (let index = 0; index < buffered.length; index += 1) {
      if (buffered.start(index) <= at + 0.5) loaded = Math.max(loaded, buffered.end(index));
    }
    this.#parts.seek.show(at, this.duration, loaded);
    replace(this.#parts.time, clock(at), el('span', { class: 'time-of' }, ' / '), clock(this.duration));
    if (this.#video.readyState > 0 && this.#video.currentTime > 0) this.#start = this.#video.currentTime;
  }

  #label() {
    const parts = this.#parts;
    this.#root.setAttribute('aria-label', t('player.region'));
    parts.bar.setAttribute('aria-label', t('player.controls'));
    parts.seek.label(t('player.seek'));
    parts.volume.setAttribute('aria-label', t('player.volume'));
    name(parts.keys, t('player.help'));
    this.#state(this.#root.dataset.state);
    this.#showSound();
    this.#showSpeed();
    this.#showQuality();
    this.#showCaptions();
    this.#showFullscreen();
    this.#showPip();
    parts.help.draw();
    if (!parts.notice.hidden) this.#offerRestart();
    if (this.#failed) this.#fail(this.#failed);
  }

  #showSound() {
    const { muted, volume } = this.#video;
    setIcon(this.#parts.mute, muted || volume === 0 ? 'muted' : volume < 0.5 ? 'quiet' : 'volume');
    name(this.#parts.mute, t(muted ? 'player.unmute' : 'player.mute'));
    const level = muted ? 0 : volume;
    this.#parts.volume.value = level;
    this.#parts.volume.setAttribute('aria-valuetext', `${Math.round(level * 100)}%`);
    this.#parts.volume.style.setProperty('--level', level);
    local.set(VOLUME_KEY, JSON.stringify({ volume, muted }));
  }

  #restoreSound() {
    try {
      const { volume, muted } = JSON.parse(local.get(VOLUME_KEY)) ?? {};
      if (volume >= 0 && volume <= 1) this.#video.volume = volume;
      this.#video.muted = muted === true;
    } catch {
      // nothing kept
    }
  }

  #showSpeed() {
    const rate = this.#video.playbackRate;
    this.#parts.speed.show({
      label: t('player.speed'),
      shown: `${rate}×`,
      choices: SPEEDS.map((value) => ({ value, text: `${value}×`, note: value === 1 ? t('player.speed.normal') : null })),
      chosen: rate,
    });
  }

  #showQuality() {
    const chosen = this.#playback.rendition;
    const auto = chosen === AUTO;
    this.#parts.quality.show({
      label: t('player.quality'),
      shown: auto ? t('player.auto') : chosen,
      choices: [
        { value: AUTO, text: t('player.auto'), note: auto ? this.#rendition : null },
        ...[...this.#lesson.renditions].sort((a, b) => b.height - a.height).map(({ name: value }) => ({ value, text: value })),
      ],
      chosen,
    });
  }

  #showCaptions() {
    const { captions, captionMenu } = this.#parts;
    captionMenu.show({
      label: t('player.captions'),
      shown: icon(captions.chosen ? 'captions-on' : 'captions'),
      choices: [{ value: null, text: t('player.off') }, ...captions.languages.map(({ lang, label }) => ({ value: lang, text: label }))],
      chosen: captions.chosen,
    });
  }

  #showFullscreen() {
    const full = document.fullscreenElement === this.#root;
    setIcon(this.#parts.full, full ? 'fullscreen-exit' : 'fullscreen');
    name(this.#parts.full, t(full ? 'player.fullscreen.exit' : 'player.fullscreen'));
  }

  #showPip() {
    name(this.#parts.pip, t('player.pip'));
    this.#parts.pip.setAttribute('aria-pressed', String(document.pictureInPictureElement === this.#video));
  }

  #flash(text) {
    const { flash } = this.#parts;
    flash.textContent = text;
    flash.classList.add('shown');
    clearTimeout(this.#timers.flash);
    this.#timers.flash = setTimeout(() => flash.classList.remove('shown'), FLASH_MS);
    this.#awake();
  }

  #offerRestart() {
    const { notice } = this.#parts;
    const close = () => (notice.hidden = true);
    const restart = () => {
      close();
      this.seek(0);
      this.play();
    };
    const dismiss = button('close', close, 'notice-close');
    name(dismiss, t('player.dismiss'));
    this.#resumedAt ??= this.#start;
    replace(notice, el('span', {}, t('player.resumed', { t: clock(this.#resumedAt) })), el('button', { type: 'button', onclick: restart }, t('player.restart')), dismiss);
    notice.hidden = false;
  }

  /** While another rendition loads, the last picture stays instead of black. */
  #hold() {
    const { held } = this.#parts;
    if (this.#playback.engine !== 'native' || this.#video.readyState < 2) return;
    held.width = this.#video.videoWidth;
    held.height = this.#video.videoHeight;
    held.getContext('2d').drawImage(this.#video, 0, 0);
    held.hidden = false;
  }

  #fail(kind) {
    this.#failed = kind;
    this.#wait(false);
    this.#parts.held.hidden = true;
    this.#root.dataset.state = 'error';
    this.#root.dataset.failure = kind;
    replace(
      this.#parts.error,
      icon('warning'),
      el('h2', {}, t('player.error.title')),
      el('p', {}, t(`player.error.${kind}`)),
      el('button', { type: 'button', class: 'primary', onclick: () => this.retry() }, icon('replay'), t('player.retry')),
    );
    this.#parts.error.hidden = false;
  }
}
