"""What a faster stage would buy: delays are put into one stage of a running engine at a time, and what becomes of its
throughput says whether the stage's time counts or is hidden behind another's."""
