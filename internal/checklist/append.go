package checklist

import (
	"errors"
	"fmt"
)

// AppendEdit adds text behind an item's first paragraph, on its last line,
// separated by a space. The text is escaped like that of Fill; line ends are
// refused. The item must come from src.
func AppendEdit(src []byte, item *Item, text string) (Edit, error) {
	if item.textEnd <= item.Box || item.textEnd > len(src) {
		return Edit{}, errors.New("append to item: not of this source")
	}
	edit, err := FillEdit(src, Blank{Start: item.textEnd, End: item.textEnd}, text)
	if err != nil {
		return Edit{}, fmt.Errorf("append to item: %w", err)
	}
	edit.Text = " " + edit.Text
	return edit, nil
}
