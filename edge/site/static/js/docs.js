// The description of the interface: the node has written all of it.
import { onLanguage, t } from './i18n.js';
import { masthead } from './masthead.js';

masthead();
onLanguage(() => (document.title = `${t('docs.headline')} · ${t('site.name')}`));
