package checklist

import (
	"bytes"
	"slices"

	"allclear.dev/allclear/internal/diag"
)

const byteOrderMark = "\xef\xbb\xbf"

// lineIndex turns byte offsets into lines and columns.
type lineIndex struct {
	src []byte
	// starts holds the offset of each line's first byte; 32 bits suffice for a
	// file of at most maxBytes.
	starts []int32
}

func newLineIndex(src []byte) lineIndex {
	starts := make([]int32, 1, bytes.Count(src, []byte{'\n'})+1)
	for i := 0; ; {
		next := bytes.IndexByte(src[i:], '\n')
		if next < 0 {
			break
		}
		i += next + 1
		starts = append(starts, int32(i))
	}
	// Editors do not count a byte order mark as a column.
	if bytes.HasPrefix(src, []byte(byteOrderMark)) {
		starts[0] = int32(len(byteOrderMark))
	}
	return lineIndex{src: src, starts: starts}
}

// number gives the line of an offset, counted from 1.
func (x lineIndex) number(offset int) int {
	i, exact := slices.BinarySearch(x.starts, int32(offset))
	if exact {
		return i + 1
	}
	return max(i, 1)
}

// start gives the offset of a line's first byte.
func (x lineIndex) start(number int) int { return int(x.starts[number-1]) }

// end gives the offset after a line's last byte, its line end left out. A carriage
// return at the end of the file is no line end.
func (x lineIndex) end(number int) int {
	if number >= len(x.starts) {
		return len(x.src)
	}
	end := int(x.starts[number]) - 1
	if end > x.start(number) && x.src[end-1] == '\r' {
		end--
	}
	return end
}

func (x lineIndex) text(number int) string {
	if number < 1 || number > len(x.starts) {
		return ""
	}
	return string(x.src[x.start(number):x.end(number)])
}

func (x lineIndex) pos(file string, offset int) diag.Pos {
	number := x.number(offset)
	return diag.Pos{File: file, Line: number, Col: max(offset-x.start(number), 0) + 1}
}
