package password

import (
	"strings"
	"unicode"
)

const (
	textStyle  = '\ufe0e'
	emojiStyle = '\ufe0f'
	joiner     = '\u200d'
	blackFlag  = '\U0001f3f4'
	firstTag   = '\U000e0020'
	lastTag    = '\U000e007f'
)

// withoutStyles drops the selectors of a style (UTS #51 §1.4.3). Some keyboards write them and some
// do not, and the result looks alike.
func withoutStyles(s string) string {
	return strings.Map(func(r rune) rune {
		if r == textStyle || r == emojiStyle {
			return -1
		}
		return r
	}, s)
}

// withKnownEmoji replaces what OpaqueString refuses of emoji by an emoji that it takes: characters
// that its tables do not know, a joiner between two (a family is several people), and the tags of a
// flag (that of Scotland is a black flag and letters). Elsewhere joiners and tags stay, and are
// refused: they are invisible, and whoever pastes one cannot type it later.
func withKnownEmoji(s string) string {
	const known = '\u263a'
	all := []rune(s)
	var b strings.Builder
	inFlag := false
	for n, r := range all {
		isTag := firstTag <= r && r <= lastTag
		inFlag = r == blackFlag || inFlag && isTag
		joins := r == joiner && n > 0 && isEmoji(all[n-1]) && n+1 < len(all) && isEmoji(all[n+1])
		if isTag && inFlag || joins || isPictograph(r) {
			r = known
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isEmoji is true of what may stand beside a joiner.
func isEmoji(r rune) bool {
	return isPictograph(r) || unicode.Is(unicode.So, r) || '\u2190' <= r && r <= '\u21ff'
}

// isPictograph is true in the blocks that have only emoji, also for those that are not assigned
// yet.
func isPictograph(r rune) bool { return '\U0001f000' <= r && r <= '\U0001faff' }
