from npczarr.model.alike import told_as_one


def test_lines_that_differ_in_numbers_are_one_with_the_range_of_each():
    first, other = "T1WI: TE 11.98 ms, TR 570 ms", "T2WI: TE 80 ms"
    lines = [first, other, "T1WI: TE 9 ms, TR 570.0 ms", "T1WI: TE 100 ms, TR 570 ms"]
    assert told_as_one(lines) == [(3, "T1WI: TE 9 to 100 ms, TR 570 ms"), (1, other)]


def test_digits_of_words_are_no_numbers():
    assert told_as_one(["b1000 T1_2 1.2.3", "b800 T1_2 1.2.3"]) == [(1, "b1000 T1_2 1.2.3"), (1, "b800 T1_2 1.2.3")]


def test_every_line_alone_is_told_as_it_is():
    for line in ("", "none", "2 of 3", "12", "ends with 4.", "0.50 and 1e5"):
        assert told_as_one([line, line]) == [(2, line)]
